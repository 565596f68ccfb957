package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/config"
	"github.com/seahow-uk/nodeprobe/core/store"
	"github.com/seahow-uk/nodeprobe/plugins"
)

// databaseName is the file of the history in the data directory.
const databaseName = "nodeprobe.db"

const (
	// droppedFor is how long after the last drop the history is short: at the limit
	// an hour of results goes every hour.
	droppedFor = 2 * time.Hour
	// storageEvery is how often that is looked at.
	storageEvery = time.Minute
)

// storeOptions is what the configuration says of the database.
func storeOptions(cfg *config.Config) store.Options {
	return store.Options{
		Path: filepath.Join(cfg.DataDir, databaseName), DSN: cfg.Storage.DSN.Value(),
		MaxBytes: cfg.Storage.MaxSize, Raw: cfg.Storage.Raw, Rollup: cfg.Storage.Rollup,
	}
}

// dropped is told by the store what goes for want of room.
func (n *node) dropped(store.Drop) {
	select {
	case n.drops <- struct{}{}:
	default:
	}
}

// watchStorage keeps the event that tells of history that goes before its time.
func (n *node) watchStorage(ctx context.Context) error {
	tick := time.NewTicker(storageEvery)
	defer tick.Stop()
	for {
		if st, err := n.store.Storage(ctx); err == nil {
			if text := shortHistory(st, time.Now()); text != "" {
				n.journal.Begin(core.EventHistoryDropped, history, text)
			} else if time.Since(n.self.Started) > droppedFor || st.Dropped > 0 {
				n.journal.End(core.EventHistoryDropped, history)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-n.drops:
		}
	}
}

// shortHistory is a sentence while history goes before its time, else empty. It
// changes by the hour or day only: each change is written down.
func shortHistory(st core.Storage, now time.Time) string {
	var all []string
	for _, kind := range core.DropKinds() {
		at, dropped := st.Drops[kind]
		if !dropped || now.Sub(at) > droppedFor {
			continue
		}
		switch {
		case kind == core.DropRaw && !st.Results.IsZero():
			all = append(all, fmt.Sprintf("single results of the last %s are kept instead of %s", long(now.Sub(st.Results)), long(st.Raw)))
		case kind == core.DropRollup && !st.Sums.IsZero():
			all = append(all, fmt.Sprintf("hourly sums of the last %s are kept instead of %s", long(now.Sub(st.Sums)), long(st.Rollup)))
		case kind == core.DropMatrix && !st.Matrix.IsZero():
			all = append(all, fmt.Sprintf("the matrix of the last %s is kept instead of %s", long(now.Sub(st.Matrix)), long(st.Raw)))
		default:
			all = append(all, "the oldest "+kind+" are dropped before their time")
		}
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("%s: storage.max_size is %s", strings.Join(all, ", "), megabytes(st.MaxBytes))
}

// long is a duration in whole hours or, from two days on, in days.
func long(d time.Duration) string {
	switch hours := int(d.Round(time.Minute) / time.Hour); {
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	case hours < 48:
		return fmt.Sprintf("%d h", hours)
	default:
		return fmt.Sprintf("%d d", hours/24)
	}
}

// megabytes is n in MB, or from 1000 of them on in GB, and TB, with one digit after
// the point where it says something.
func megabytes(n int64) string {
	unit, names := int64(1e6), []string{"MB", "GB", "TB"}
	for len(names) > 1 && n >= 1000*unit {
		unit, names = 1000*unit, names[1:]
	}
	if of := float64(n) / float64(unit); of < 100 && n%unit != 0 {
		return fmt.Sprintf("%.1f %s", of, names[0])
	}
	return fmt.Sprintf("%d %s", n/unit, names[0])
}

// fits is what a limit holds of a rate.
func fits(perDay, limit int64, raw, rollup time.Duration) string {
	return fmt.Sprintf("%s a day of single results; %s holds %s of them, and %s by the hour", megabytes(perDay), megabytes(limit), long(raw), long(rollup))
}

// somePeers are assumed as long as no database tells how many there are.
const somePeers = 100

// storageCost says what the configuration costs: from the database of its data
// directory when that has seen enough, else from a number of peers.
func storageCost(ctx context.Context, cfg *config.Config) (string, error) {
	o := storeOptions(cfg)
	peers, intervals := somePeers, probeIntervals(cfg)
	r, err := store.OpenReader(ctx, o)
	switch {
	case errors.Is(err, store.ErrNoDatabase):
	case err != nil:
		return "", err
	default:
		defer r.Close()
		st, err := r.Stats(ctx)
		if err != nil {
			return "", err
		}
		if f := st.Forecast; f.RawPerDay > 0 {
			return "storage, as measured: " + fits(f.RawPerDay, o.MaxBytes, f.Raw, f.Rollup), nil
		}
		counts, err := r.Counts(ctx)
		if err != nil {
			return "", err
		}
		if counts.Nodes > 0 {
			peers = int(counts.Nodes)
		}
	}
	f := store.Estimate(peers, intervals, o)
	return fmt.Sprintf("storage, estimated for %s and %s: %s", count(peers, "peer"), count(len(intervals), "probe"),
		fits(f.RawPerDay, o.MaxBytes, f.Raw, f.Rollup)), nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// probeIntervals is how often each probe of the configuration runs at each peer.
func probeIntervals(cfg *config.Config) []time.Duration {
	var all []time.Duration
	plan := newPlan(cfg)
	for _, s := range plan.list() {
		for _, p := range s.Probes {
			all = append(all, plan.interval(p))
		}
	}
	return all
}

// interval is that of a probe; one of a third party that is not told is taken
// for the default of the node.
func (p *plan) interval(spec plugins.ProbeSpec) time.Duration {
	if spec.Interval > 0 {
		return spec.Interval
	}
	if o, ok := p.probes[spec.Kind]; ok && o.info.Interval > 0 {
		return o.info.Interval
	}
	return p.cfg.Interval
}
