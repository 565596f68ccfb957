package store

import (
	"math"

	"github.com/seahow-uk/nodeprobe/core"
)

// bucketing puts results into buckets.
type bucketing struct {
	buckets        []core.Bucket
	sums           []float64
	counts         []int64
	from, to, step int64 // ms
}

func newBucketing(buckets []core.Bucket, q core.HistoryQuery) *bucketing {
	from, step := q.From.UnixMilli(), q.Step.Milliseconds()
	n := len(buckets)
	return &bucketing{buckets, make([]float64, n), make([]int64, n), from, from + step*int64(n), step}
}

// run takes in a run, and of a metric the value that it measured.
func (b *bucketing) run(r *run) {
	if r.ms < b.from || r.ms >= b.to {
		return
	}
	i := (r.ms - b.from) / b.step
	switch r.status & 7 {
	case 1:
		b.buckets[i].Runs++
	case 2:
		b.buckets[i].Runs++
		b.buckets[i].Failures++
	}
	if r.ok {
		b.values(i, 1, r.v, r.v, float64(r.v))
	}
}

func (b *bucketing) sum(ms int64, h *hourSum, metric bool) {
	i := (ms - b.from) / b.step
	b.buckets[i].Runs += int(h.runs)
	b.buckets[i].Failures += int(h.failures)
	if metric {
		b.buckets[i].Runs += int(h.n)
	}
	if h.n > 0 {
		b.values(i, h.n, h.min, h.max, float64(h.mean)*float64(h.n))
	}
}

func (b *bucketing) values(i, n, least, most int64, sum float64) {
	at := &b.buckets[i]
	if b.counts[i] == 0 {
		at.Min, at.Max = float64(least), float64(most)
	}
	at.Min, at.Max = math.Min(at.Min, float64(least)), math.Max(at.Max, float64(most))
	b.counts[i] += n
	b.sums[i] += sum
}

// done gives the values their unit.
func (b *bucketing) done(scale int64) {
	for i := range b.buckets {
		at := &b.buckets[i]
		at.Min, at.Max = at.Min/float64(scale), at.Max/float64(scale)
		at.Mean = b.sums[i] / float64(b.counts[i]) / float64(scale) // NaN of nothing
	}
}
