package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// Percentiles sums up the results of one probe by peer, in the order of their
// ids; peers without a run in the window are left out. An hour of which only
// sums are left counts when it begins in the window. Errors: ErrBadQuery.
func (s *Store) Percentiles(ctx context.Context, q core.WindowQuery) ([]core.PathSummary, error) {
	if !q.From.Before(q.To) {
		return nil, fmt.Errorf("%w: from must be before to", ErrBadQuery)
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	w := window{from: q.From.UnixMilli(), to: q.To.UnixMilli(), paths: map[int64]*pathCount{}}
	if err := w.find(ctx, s.reader, q.Probe); err != nil {
		return nil, fmt.Errorf("read series: %w", err)
	}
	w.takeTails(&s.tails) // before the snapshot: see tails
	if err := s.snapshot(ctx, func(snap *snapshot) error { return w.count(ctx, snap) }); err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	return w.summaries(), nil
}

// window counts what began in [from, to), ms.
type window struct {
	from, to int64
	series   []int64
	paths    map[int64]*pathCount // by series
}

type pathCount struct {
	node           core.NodeID
	runs, failures int64
	rtts           histogram
	fresh          []run // of the tail, without what was found in a chunk
}

func (w *window) find(ctx context.Context, db bun.IDB, probe string) error {
	var rows []seriesRow
	err := db.NewSelect().Model(&rows).Column("id", "node").Where("probe = ? AND metric = ''", clean(probe, maxNameBytes)).
		Order("id").Scan(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		id, err := core.ParseNodeID(r.Node)
		if err != nil {
			return err
		}
		w.series = append(w.series, r.ID)
		w.paths[r.ID] = &pathCount{node: id}
	}
	return nil
}

func (w *window) takeTails(t *tails) {
	for id, p := range w.paths {
		p.fresh = t.of(id, w.from, w.to)
	}
}

func (w *window) count(ctx context.Context, snap *snapshot) error {
	if len(w.series) == 0 {
		return nil
	}
	if err := snap.sums(ctx, w.from, w.to, w.series, w.sum); err != nil {
		return err
	}
	first, end, err := snap.chunkHours(ctx, w.from, w.to)
	if err != nil {
		return err
	}
	if err := snap.packed(ctx, "chunk", first, end, w.series, w.chunk); err != nil {
		return err
	}
	return w.tail(ctx, snap)
}

func (w *window) sum(_, series int64, h *hourSum) {
	p := w.paths[series]
	p.runs, p.failures = p.runs+h.runs, p.failures+h.failures
	p.rtts.sum(h)
}

func (w *window) chunk(hour, series int64, data []byte) {
	p := w.paths[series]
	if begin := hour * hourMS; begin >= w.from && begin+hourMS <= w.to && (len(p.fresh) == 0 || p.fresh[0].ms >= begin+hourMS) {
		p.whole(data)
		return
	}
	r := readRuns(hour, data)
	for x := (run{}); r.next(&x); {
		p.fresh = without(p.fresh, x.ms)
		p.run(w, &x)
	}
}

func (p *pathCount) run(w *window, x *run) {
	if x.ms < w.from || x.ms >= w.to {
		return
	}
	p.outcome(x.status)
	if x.ok {
		p.rtts.value(x.v)
	}
}

func (p *pathCount) outcome(status int64) {
	switch status & 7 {
	case 1:
		p.runs++
	case 2:
		p.runs++
		p.failures++
	}
}

// tail counts what is not packed. Of hours that only sums are left of, tails may
// have what those sums have by now; as a rule there is nothing.
func (w *window) tail(ctx context.Context, snap *snapshot) error {
	late := min(w.to, snap.raw*hourMS)
	for _, p := range w.paths {
		for i := range p.fresh {
			if p.fresh[i].ms >= late {
				p.run(w, &p.fresh[i])
			}
		}
	}
	if late <= w.from {
		return nil
	}
	return eachTail(ctx, snap.tx, w.from, late, w.series, func(series int64, x *run) { w.paths[series].run(w, x) })
}

func (w *window) summaries() []core.PathSummary {
	all := make([]core.PathSummary, 0, len(w.paths))
	for _, p := range w.paths {
		if p.runs == 0 && p.rtts.n == 0 {
			continue
		}
		sum := core.PathSummary{Node: p.node, Runs: int(p.runs), Failures: int(p.failures)}
		if p.rtts.n > 0 {
			for q, at := range map[float64]*time.Duration{0.5: &sum.P50, 0.9: &sum.P90, 0.99: &sum.P99} {
				*at = time.Duration(p.rtts.quantile(q) * float64(time.Microsecond))
			}
		}
		all = append(all, sum)
	}
	slices.SortFunc(all, func(a, b core.PathSummary) int { return strings.Compare(string(a.Node[:]), string(b.Node[:])) })
	return all
}
