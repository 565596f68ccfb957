package web

import (
	"context"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// The history that one request can get. maxPoints is about two screens of
// pixels.
const (
	maxPoints = 4000
	maxSpan   = 400 * 24 * time.Hour
	minStep   = time.Second
	someSteps = 120
)

// metricRTT is the name of RTT among the metrics, with its unit.
const metricRTT = "rtt_us"

// historyJSON is in columns of equal length, one place a step; null where nothing
// was measured.
type historyJSON struct {
	Node     core.NodeID `json:"node"`
	Probe    string      `json:"probe"`
	Metric   string      `json:"metric"`
	From     time.Time   `json:"from"`
	To       time.Time   `json:"to"`
	Step     float64     `json:"step_seconds"`
	At       []time.Time `json:"at"`
	Runs     []int       `json:"runs"`
	Failures []int       `json:"failures"`
	Min      []*float64  `json:"min"`
	Mean     []*float64  `json:"mean"`
	Max      []*float64  `json:"max"`
}

// getHistory answers GET /api/v1/nodes/{id}/history.
func (s *Server) getHistory(w http.ResponseWriter, r *http.Request, c caller) {
	n, ok := s.pathNode(w, r)
	if !ok {
		return
	}
	q, metric, p := s.historyQuery(r, n.ID)
	if p.refused(w) {
		return
	}
	s.answerInTurn(w, r, c, "history", func(ctx context.Context) (any, error) {
		buckets, err := s.store.History(ctx, q)
		if err == nil && !slices.ContainsFunc(buckets, func(b core.Bucket) bool { return b.Runs > 0 }) {
			err = s.knownProbe(q.Probe)
		}
		return newHistoryJSON(q, metric, buckets), err
	})
}

// historyQuery reads the parameters. Without any it is the RTT of the last hour.
func (s *Server) historyQuery(r *http.Request, node core.NodeID) (core.HistoryQuery, string, *params) {
	p := query(r, "probe", "metric", "from", "to", "step")
	now := time.Now().UTC()
	q := core.HistoryQuery{Node: node, Probe: p.word("probe", s.probe("").Name)}
	metric := p.metric("metric", metricRTT)
	if metric != metricRTT {
		q.Metric = metric
	}
	q.From, q.To = p.window(now, time.Hour)
	span := q.To.Sub(q.From)
	q.Step = p.duration("step", max(minStep, (span/someSteps).Truncate(time.Second)), minStep, maxSpan)
	if span/q.Step > maxPoints {
		p.fail("step", "want at least %s for this span: at most %d points",
			(span/maxPoints + time.Second).Truncate(time.Second), maxPoints)
	}
	return q, metric, p
}

func newHistoryJSON(q core.HistoryQuery, metric string, buckets []core.Bucket) historyJSON {
	out := historyJSON{
		Node: q.Node, Probe: q.Probe, Metric: metric, From: q.From, To: q.To, Step: q.Step.Seconds(),
		At: []time.Time{}, Runs: []int{}, Failures: []int{}, Min: []*float64{}, Mean: []*float64{}, Max: []*float64{},
	}
	scale := 1.0
	if metric == metricRTT {
		scale = 1e6 // the store keeps seconds
	}
	for _, b := range buckets {
		out.At = append(out.At, b.At.UTC())
		out.Runs = append(out.Runs, b.Runs)
		out.Failures = append(out.Failures, b.Failures)
		out.Min = append(out.Min, number(b.Min*scale))
		out.Mean = append(out.Mean, number(b.Mean*scale))
		out.Max = append(out.Max, number(b.Max*scale))
	}
	return out
}

// number is null for what JSON cannot write.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
