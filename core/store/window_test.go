package store

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// Percentiles counts each run once, wherever it is: packed, in the tail, or in
// both because it was saved again.
func TestWindowsCountOnce(t *testing.T) {
	w := stopped(t, Options{})
	rs := motley(rand.New(rand.NewPCG(8, 9)), epoch, 2000, 10*time.Second) // 5 hours and a half
	w.save(t, rs[:1500]...)
	w.settle(t, rs[1500].At())
	w.save(t, rs[1490:]...)
	if w.tailRows == 0 || w.packed.rows == 0 {
		t.Fatalf("%d rows are in the tail, %d in chunks; want some in both", w.tailRows, w.packed.rows)
	}
	end := rs[len(rs)-1].At().Add(time.Millisecond)
	for _, window := range []core.WindowQuery{
		{Probe: "stamp", From: epoch, To: end},
		{Probe: "stamp", From: epoch.Add(time.Hour), To: epoch.Add(4 * time.Hour)},
		{Probe: "stamp", From: epoch.Add(3*time.Hour + 7*time.Minute), To: epoch.Add(5 * time.Hour)},
		{Probe: "https", From: rs[1490].At(), To: end},
	} {
		got, err := w.s.Percentiles(t.Context(), window)
		must(t, err)
		comparePercentiles(t, got, percentilesOf(rs, window), 0.01)
	}
}

// percentilesOf is what Percentiles must say of results.
func percentilesOf(rs []core.Result, q core.WindowQuery) (all []core.PathSummary) {
	byNode := map[core.NodeID]*pathCount{}
	for _, r := range rs {
		if at := r.At(); r.Job.Probe != q.Probe || at.Before(q.From) || !at.Before(q.To) {
			continue
		}
		p := byNode[r.Job.Target.Node]
		if p == nil {
			p = &pathCount{node: r.Job.Target.Node}
			byNode[p.node] = p
		}
		p.outcome(int64(r.Outcome))
		if us := rttUS(r.RTT); us != nil {
			p.rtts.value(*us)
		}
	}
	w := window{paths: map[int64]*pathCount{}}
	for _, p := range byNode {
		w.paths[int64(len(w.paths))] = p
	}
	return w.summaries()
}

func TestWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var rs []run
	for i := range 200 {
		r := run{someHour*hourMS + int64(i)*10_000 + rng.Int64N(9000), 1 + rng.Int64N(30), sample{1 + rng.Int64N(1<<rng.IntN(40)), rng.IntN(3) > 0}}
		if !r.ok {
			r.v = 0
		}
		rs = append(rs, r)
	}
	compareWhole(t, appendRuns(nil, someHour, rs))
}

// compareWhole wants the same from a chunk with its times and without.
func compareWhole(t *testing.T, data []byte) {
	t.Helper()
	w := window{from: 0, to: maxMS}
	var got, want pathCount
	got.whole(data)
	r := readRuns(someHour, data)
	for x := (run{}); r.next(&x); {
		want.run(&w, &x)
	}
	if r.err == nil && (got.runs != want.runs || got.failures != want.failures || got.rtts.n != want.rtts.n ||
		got.rtts.min != want.rtts.min || got.rtts.max != want.rtts.max || !slices.Equal(got.rtts.counts, want.rtts.counts)) {
		t.Errorf("%x:\ngot  %+v\nwant %+v", data, got, want)
	}
}

// queries counts what a store asks its database.
type queries struct{ n atomic.Int64 }

func (q *queries) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }
func (q *queries) AfterQuery(context.Context, *bun.QueryEvent)                        { q.n.Add(1) }

// Results that a wrong clock has put years away must not make questions go
// through all hours in between.
func TestHoursWithoutResults(t *testing.T) {
	w := stopped(t, Options{Raw: 4000 * 24 * time.Hour, Now: func() time.Time { return epoch }})
	long := epoch.Add(-300 * 24 * time.Hour)
	var rs []core.Result
	for n := range 300 {
		rs = append(rs, result(n+1, 1, long, time.Millisecond), result(n+1, 2, epoch.Add(-2*time.Hour), time.Millisecond))
	}
	w.save(t, rs...)
	w.settle(t, epoch)
	asked := &queries{}
	w.s.reader = w.s.reader.WithQueryHook(asked)
	sums, err := w.s.Percentiles(t.Context(), core.WindowQuery{Probe: "https", From: long.Add(-time.Hour), To: epoch})
	if must(t, err); len(sums) != 300 || sums[0].Runs != 2 {
		t.Errorf("got %d peers, %+v", len(sums), sums[:min(1, len(sums))])
	}
	rows := 0
	r := &Reader{s: w.s}
	must(t, r.Results(t.Context(), ExportQuery{}, func(ResultRow) error { rows++; return nil }))
	if n := asked.n.Load(); rows != 600 || n > 60 {
		t.Errorf("got %d rows with %d queries, want 600 with a few", rows, n)
	}
}
