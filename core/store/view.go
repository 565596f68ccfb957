package store

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// The bounds of a view, kept when it is made and when it is read.
const (
	// maxPairs is four probes at as many nodes as one node tells of.
	maxPairs       = 8000
	maxPairMetrics = 32
	maxReason      = 32
	// maxPacked is 8 bytes a pair: with some metrics they take 6.
	maxPacked = 64_000
	maxRTT    = time.Hour
	// maxViewAge: what a peer measured before that says nothing about now.
	maxViewAge = 24 * time.Hour
	// viewShare of MaxBytes is what the rows of all peers may take: they are told
	// anew all the time, the history is not.
	viewShare = 10
)

var errBadView = errors.New("packed view is damaged")

// view is one row of the matrix.
type view struct {
	at    time.Time
	pairs []core.PathStatus
}

// soundPairs is what source may say at a time: only about paths that begin at
// itself, within bounds, nothing from the future. They come by probe, first the
// one that tells who is alive: when there is no room for all, it is the last ones
// that are left out.
func soundPairs(source core.NodeID, said []core.PathStatus, first string, now time.Time) []core.PathStatus {
	pairs := make([]core.PathStatus, 0, len(said))
	for _, p := range said {
		if p.Destination.IsZero() || p.Destination == source || p.Outcome.String() == "" || now.Sub(p.At) > maxViewAge && !p.At.IsZero() {
			continue
		}
		p.Source = source
		p.Probe, p.Reason = clean(p.Probe, maxNameBytes), core.Reason(clean(string(p.Reason), maxReason))
		p.Message = clean(p.Message, maxMessage)
		p.RTT = min(max(p.RTT, 0), maxRTT)
		if p.At.IsZero() || p.At.After(now) {
			p.At = now
		}
		p.Metrics = soundMetrics(p.Metrics)
		pairs = append(pairs, p)
	}
	order := func(a, b core.PathStatus) int {
		if a.Probe != b.Probe && (a.Probe == first || b.Probe == first) {
			return number(b.Probe == first) - number(a.Probe == first)
		}
		return cmp.Or(strings.Compare(a.Probe, b.Probe), bytes.Compare(a.Destination[:], b.Destination[:]))
	}
	slices.SortStableFunc(pairs, order)
	pairs = slices.CompactFunc(pairs, func(a, b core.PathStatus) bool { return order(a, b) == 0 })
	return pairs[:min(len(pairs), maxPairs)]
}

func byDestination(a, b core.PathStatus) int {
	if c := bytes.Compare(a.Destination[:], b.Destination[:]); c != 0 {
		return c
	}
	return strings.Compare(a.Probe, b.Probe)
}

func soundMetrics(said []core.Metric) []core.Metric {
	var ms []core.Metric
	for _, m := range said[:min(len(said), maxPairMetrics)] {
		if m.Name != "" && len(m.Name) <= maxNameBytes && !math.IsNaN(m.Value) && !math.IsInf(m.Value, 0) {
			ms = append(ms, core.Metric{Name: clean(m.Name, maxNameBytes), Value: m.Value})
		}
	}
	return ms
}
