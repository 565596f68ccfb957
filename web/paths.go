package web

import (
	"context"
	"net/http"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// windowJSON sums up what self measured by one probe at each peer.
type windowJSON struct {
	At    time.Time    `json:"at"`
	Probe string       `json:"probe"`
	From  time.Time    `json:"from"`
	To    time.Time    `json:"to"`
	Paths []pathWindow `json:"paths"`
}

// pathWindow has null for what was not measured.
type pathWindow struct {
	Node     core.NodeID `json:"node"`
	Name     string      `json:"name"`
	Runs     int         `json:"runs"`
	Failures int         `json:"failures"`
	Success  *float64    `json:"success_ratio"`
	P50      *int64      `json:"p50_rtt_us"`
	P90      *int64      `json:"p90_rtt_us"`
	P99      *int64      `json:"p99_rtt_us"`
}

// getPaths answers GET /api/v1/paths: every peer that self knows, by name, with
// what was measured there in a window.
func (s *Server) getPaths(w http.ResponseWriter, r *http.Request, c caller) {
	p := query(r, "probe", "from", "to")
	q := core.WindowQuery{Probe: p.word("probe", s.probe("").Name)}
	q.From, q.To = p.window(time.Now().UTC(), 24*time.Hour)
	if p.refused(w) {
		return
	}
	s.answerInTurn(w, r, c, "paths", func(ctx context.Context) (any, error) {
		sums, err := s.store.Percentiles(ctx, q)
		if err == nil && len(sums) == 0 {
			err = s.knownProbe(q.Probe)
		}
		return s.newWindowJSON(q, sums), err
	})
}

func (s *Server) newWindowJSON(q core.WindowQuery, sums []core.PathSummary) windowJSON {
	out := windowJSON{At: time.Now().UTC(), Probe: q.Probe, From: q.From, To: q.To, Paths: []pathWindow{}}
	by := make(map[core.NodeID]core.PathSummary, len(sums))
	for _, sum := range sums {
		by[sum.Node] = sum
	}
	for _, n := range s.peers() {
		sum := by[n.ID]
		path := pathWindow{
			Node: n.ID, Name: n.Name(), Runs: sum.Runs, Failures: sum.Failures,
			P50: microseconds(sum.P50), P90: microseconds(sum.P90), P99: microseconds(sum.P99),
		}
		if sum.Runs > 0 {
			ratio := 1 - float64(sum.Failures)/float64(sum.Runs)
			path.Success = &ratio
		}
		out.Paths = append(out.Paths, path)
	}
	return out
}

// microseconds is null for what was not measured.
func microseconds(d time.Duration) *int64 {
	if d <= 0 {
		return nil
	}
	us := d.Microseconds()
	return &us
}
