package core

import (
	"math"
	"time"
)

// EventQuery selects events. Zero fields do not restrict.
type EventQuery struct {
	// Since and Until bound the time that an event lasted: one that ended
	// before Since or began at Until or later is left out.
	Since, Until time.Time
	Kind         EventKind
	Subject      string
	// Open asks for events that still last.
	Open bool
	// Limit is the most events to return, newest first; 0 means 100.
	Limit int
}

// HistoryQuery selects the results of one probe at one peer, in buckets of Step
// from From to To.
type HistoryQuery struct {
	Node  NodeID
	Probe string
	// Metric is the name of a metric; empty means RTT, in seconds.
	Metric   string
	From, To time.Time
	Step     time.Duration
}

// Bucket sums up the results that began in [At, At+Step).
type Bucket struct {
	At             time.Time
	Runs, Failures int
	// Min, Mean and Max are NaN when nothing was measured.
	Min, Mean, Max float64
}

// Buckets is an empty bucket for each step from From until To is covered. Step
// must be at least 1 ms.
func (q HistoryQuery) Buckets() []Bucket {
	from, step := q.From.Truncate(time.Millisecond), q.Step.Truncate(time.Millisecond)
	buckets := make([]Bucket, max(0, (q.To.Sub(q.From)+step-1)/step))
	for i := range buckets {
		buckets[i] = Bucket{At: from.Add(time.Duration(i) * step), Min: math.NaN(), Mean: math.NaN(), Max: math.NaN()}
	}
	return buckets
}

// Add takes a result of the query's path into its bucket. The mean is near: the
// bucket does not know how many values it has.
func (q HistoryQuery) Add(buckets []Bucket, r Result) {
	i := int(r.At().Sub(q.From.Truncate(time.Millisecond)) / q.Step.Truncate(time.Millisecond))
	if r.At().Before(q.From) || i >= len(buckets) || r.Outcome != OutcomeSuccess && r.Outcome != OutcomeFailure {
		return
	}
	b := &buckets[i]
	before := float64(b.Runs - b.Failures)
	b.Runs++
	if r.Outcome == OutcomeFailure {
		b.Failures++
	}
	v := r.RTT.Seconds()
	if q.Metric != "" {
		v = 0
		for _, m := range r.Metrics {
			if m.Name == q.Metric {
				b.take(m.Value, before)
			}
		}
	}
	if v > 0 {
		b.take(v, before)
	}
}

func (b *Bucket) take(v, before float64) {
	if math.IsNaN(b.Mean) {
		b.Min, b.Mean, b.Max = v, v, v
		return
	}
	before = max(before, 1)
	b.Min, b.Mean, b.Max = min(b.Min, v), (b.Mean*before+v)/(before+1), max(b.Max, v)
}

// WindowQuery selects the results of one probe at all peers that began in
// [From, To).
type WindowQuery struct {
	Probe    string
	From, To time.Time
}

// PathSummary sums up what one probe found at one peer in a window.
type PathSummary struct {
	Node NodeID
	// Runs and Failures count what says something about the peer: the success
	// ratio is 1 - Failures/Runs.
	Runs, Failures int
	// P50, P90 and P99 of RTT: not more than 1 % off or, where only hourly sums
	// are left, 5 %. 0 when nothing was measured.
	P50, P90, P99 time.Duration
}

// DocumentQuery selects versions of documents, newest first. Empty fields do not
// restrict.
type DocumentQuery struct {
	Node        NodeID
	Probe, Name string
	Limit       int // 0 means 20; at most 100
}

// StoredDocument is one version of a document.
type StoredDocument struct {
	Document
	Node  NodeID
	Probe string
	// At is when it was first found; Until when the next version was, zero while
	// it holds.
	At, Until time.Time
}
