package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// The states of the mesh as self sees it. There is no "ok" without a peer that
// answers.
const (
	meshWaiting = "waiting" // no peer is known yet
	meshOK      = "ok"      // every peer answers, and self is well
	meshProblem = "problem"
)

type summaryJSON struct {
	At    time.Time `json:"at"`
	Self  selfJSON  `json:"self"`
	State string    `json:"state"`
	// Problems are sentences, what concerns self first.
	Problems []string `json:"problems"`
	Health   struct {
		Status string       `json:"status"`
		Checks []wire.Check `json:"checks"`
	} `json:"health"`
	Nodes struct {
		Total      int                `json:"total"`
		ByState    map[core.State]int `json:"by_state"`
		Candidates int                `json:"candidates"`
	} `json:"nodes"`
	Plugins struct {
		Total   int `json:"total"`
		Running int `json:"running"`
	} `json:"plugins"`
	// Storage is null when the database cannot be read.
	Storage *storageJSON `json:"storage"`
}

// storageJSON is how the history stands; null what there is none of.
type storageJSON struct {
	Bytes       int64      `json:"bytes"`
	MaxBytes    int64      `json:"max_bytes"`
	RawPerDay   int64      `json:"raw_bytes_per_day"`
	RawSince    *time.Time `json:"raw_since"`
	Raw         float64    `json:"raw_seconds"`
	RawFits     float64    `json:"raw_fits_seconds"`
	RollupSince *time.Time `json:"rollup_since"`
	Rollup      float64    `json:"rollup_seconds"`
	RollupFits  float64    `json:"rollup_fits_seconds"`
	MatrixSince *time.Time `json:"matrix_since"`
	DroppedRows uint64     `json:"dropped_rows"`
	LastDropped *time.Time `json:"last_dropped"`
}

func (s *Server) storageJSON(ctx context.Context) *storageJSON {
	if s.storage == nil {
		return nil
	}
	st, err := s.storage(ctx)
	if err != nil {
		return nil // the health says why
	}
	return &storageJSON{
		Bytes: st.Bytes, MaxBytes: st.MaxBytes, RawPerDay: st.RawPerDay,
		RawSince: stamp(st.Results), Raw: st.Raw.Seconds(), RawFits: st.RawFits.Truncate(time.Second).Seconds(),
		RollupSince: stamp(st.Sums), Rollup: st.Rollup.Seconds(), RollupFits: st.RollupFits.Truncate(time.Second).Seconds(),
		MatrixSince: stamp(st.Matrix), DroppedRows: st.Dropped, LastDropped: stamp(st.LastDrop),
	}
}

// getSummary answers GET /api/v1/summary.
func (s *Server) getSummary(w http.ResponseWriter, r *http.Request, _ caller) {
	if query(r).refused(w) {
		return
	}
	health := s.health.get(r.Context())
	out := summaryJSON{At: time.Now().UTC(), Self: newSelfJSON(s.self, s.ip(r)), Problems: []string{}}
	out.Health.Status, out.Health.Checks = wire.Healthy, health.wire()
	if !health.Healthy() {
		out.Health.Status = wire.Unhealthy
	}
	for _, c := range health.Checks {
		if c.Problem != "" && c.Name != CheckPlugins {
			out.Problems = append(out.Problems, c.Name+": "+c.Problem)
		}
	}
	s.addPlugins(&out)
	s.addNodes(&out)
	out.Storage = s.storageJSON(r.Context())
	out.State = meshState(out)
	writeJSON(w, http.StatusOK, out)
}

func meshState(s summaryJSON) string {
	switch {
	case len(s.Problems) > 0 || s.Health.Status != wire.Healthy:
		return meshProblem
	case s.Nodes.Total == 0:
		return meshWaiting
	default:
		return meshOK
	}
}

func (s *Server) addPlugins(out *summaryJSON) {
	silent := map[string]bool{} // whose reporters cannot but fail
	for _, p := range s.plugins.Status() {
		out.Plugins.Total++
		if p.State == core.PluginRunning {
			out.Plugins.Running++
		} else {
			silent[p.Name] = true
		}
		if trouble := p.Trouble(); trouble != "" {
			out.Problems = append(out.Problems, fmt.Sprintf("plugin %s %s", p.Name, trouble))
		}
	}
	for _, r := range s.reporters() {
		if r.LastError != "" && !silent[r.Plugin] {
			out.Problems = append(out.Problems, fmt.Sprintf("reporter %s: %s", r.Name, r.LastError))
		}
	}
}

func (s *Server) addNodes(out *summaryJSON) {
	out.Nodes.ByState = map[core.State]int{}
	out.Nodes.Candidates = s.mesh.Candidates()
	out.Problems = append(out.Problems, s.mesh.SeedProblems()...)
	found := s.findings()
	for _, n := range s.peers() {
		out.Nodes.Total++
		out.Nodes.ByState[n.State]++
		if n.State != core.StateAlive {
			out.Problems = append(out.Problems, nodeProblem(n))
		}
		for _, f := range distinct(found[n.ID]) {
			out.Problems = append(out.Problems, fmt.Sprintf("path to %s: %s", n.Name(), cmp.Or(f.Message, string(f.Kind))))
		}
	}
}

// distinct leaves out what another probe has found already.
func distinct(sorted []findingJSON) []findingJSON {
	return slices.CompactFunc(sorted, func(a, b findingJSON) bool { return a.Kind == b.Kind })
}

func nodeProblem(n core.Node) string {
	text := fmt.Sprintf("%s is %s", n.Name(), n.State)
	switch {
	case n.Message != "":
		return text + ": " + n.Message
	case n.Reason != "":
		return text + ": " + string(n.Reason)
	default:
		return text
	}
}
