package web

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/seahow-uk/nodeprobe/core"
)

// maxSamples of results are told: 1,000 peers with three probes and their
// metrics have some 25,000.
const maxSamples = 60_000

// getMetrics answers GET /metrics in the text format of Prometheus.
func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request, c caller) {
	leave, err := s.turns.take(r.Context(), network(c.ip))
	if err != nil {
		return // the caller is gone
	}
	defer leave()
	var body bytes.Buffer
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	e := exposition{enc: expfmt.NewEncoder(&body, format)}
	s.exposeNode(r.Context(), &e)
	s.exposeStorage(r.Context(), &e)
	s.exposeRuns(&e)
	s.exposePlugins(&e)
	s.exposeReporters(&e)
	s.exposeResults(&e)
	if e.err != nil {
		s.log.Error("metrics cannot be encoded", "error", e.err)
		http.Error(w, "the metrics cannot be encoded; the log of the node tells more", http.StatusInternalServerError)
		return
	}
	writeBody(w, http.StatusOK, string(format), body.Bytes())
}

func (s *Server) exposeNode(ctx context.Context, e *exposition) {
	e.gauge("nodeprobe_info", "What runs here; always 1.", 1, "version", s.self.Version, "node", s.self.ID.String(), "name", selfName(s.self))
	e.gauge("nodeprobe_start_timestamp_seconds", "When the process began.", seconds(s.self.Started))
	health := s.health.get(ctx)
	e.gauge("nodeprobe_healthy", "1 when the node does its work, as GET /health tells.", truth(health.Healthy()))
	for _, c := range health.Checks {
		e.gauge("nodeprobe_check_ok", "1 when a part of the node has no problem.", truth(c.Problem == ""), "check", c.Name)
	}
	states := map[core.State]int{core.StateAlive: 0, core.StateSuspect: 0, core.StateDown: 0}
	for _, n := range s.mesh.Nodes() {
		states[n.State]++
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		e.gauge("nodeprobe_peers", "Known peers by state.", float64(states[state]), "state", string(state))
	}
	e.gauge("nodeprobe_candidates", "Addresses that were heard of and have not answered yet.", float64(s.mesh.Candidates()))
}

func (s *Server) exposeStorage(ctx context.Context, e *exposition) {
	if s.storage != nil {
		if st, err := s.storage(ctx); err == nil {
			e.gauge("nodeprobe_storage_bytes", "The database with its log.", float64(st.Bytes))
			e.gauge("nodeprobe_storage_limit_bytes", "What the database is kept below.", float64(st.MaxBytes))
			for kind, at := range map[string]time.Time{"raw": st.Results, "rollup": st.Sums, "matrix": st.Matrix} {
				if !at.IsZero() {
					e.gauge("nodeprobe_storage_oldest_timestamp_seconds", "The begin of what is kept.", seconds(at), "kind", kind)
				}
			}
			e.gauge("nodeprobe_storage_fits_seconds", "How long what comes in now can be kept; 0 in the first three hours.", st.RawFits.Seconds(), "kind", "raw")
			e.gauge("nodeprobe_storage_fits_seconds", "", st.RollupFits.Seconds(), "kind", "rollup")
		}
	}
	if s.counts == nil {
		return
	}
	n := s.counts()
	e.gauge("nodeprobe_storage_failing", "1 when the last transaction was not written.", truth(n.Failing))
	e.gauge("nodeprobe_storage_paused", "1 when history is not written because the disk is full.", truth(n.Paused))
	e.counter("nodeprobe_storage_results_total", "Results that were saved.", n.Results)
	e.counter("nodeprobe_storage_commits_total", "Transactions.", n.Commits)
	e.counter("nodeprobe_storage_failed_commits_total", "Transactions that were not written.", n.Failed)
	e.counter("nodeprobe_storage_mishaps_total", "How often the database file was found corrupt, deleted or replaced.", n.Mishaps)
	for _, kind := range core.DropKinds() {
		e.counter("nodeprobe_storage_dropped_rows_total", "Rows that went before their time, because of the limit.",
			n.Dropped[kind], "kind", strings.ReplaceAll(kind, " ", "_"))
	}
}

func (s *Server) exposeRuns(e *exposition) {
	st := s.engine.Stats()
	kinds := slices.SortedFunc(maps.Keys(st.Outcomes), func(a, b core.RunKind) int {
		return cmp.Or(strings.Compare(a.Probe, b.Probe), cmp.Compare(a.Outcome, b.Outcome))
	})
	for _, k := range kinds {
		e.counter("nodeprobe_runs_total", "Runs that ended.", st.Outcomes[k], "probe", k.Probe, "outcome", k.Outcome.String())
	}
	e.counter("nodeprobe_runs_started_total", "Runs that began.", st.Runs)
	e.counter("nodeprobe_runs_skipped_total", "Turns not taken because the last run had not ended.", st.Skipped)
	e.counter("nodeprobe_runs_lost_total", "Runs that no result came of.", st.Lost)
	e.counter("nodeprobe_results_dropped_total", "Results that the database never took.", st.Dropped)
	e.gauge("nodeprobe_runs_in_flight", "Runs that have not ended.", float64(st.InFlight))
	e.gauge("nodeprobe_results_unsaved", "Results that wait for the database.", float64(st.Unsaved))
	e.gauge("nodeprobe_run_lateness_max_seconds", "How long after its turn a run began, at most, in the last minutes.", st.LatenessMax.Seconds())
	e.gauge("nodeprobe_run_lateness_p99_seconds", "The same, of 99 in 100.", st.LatenessP99.Seconds())
}

func (s *Server) exposePlugins(e *exposition) {
	for _, p := range s.plugins.Status() {
		e.gauge("nodeprobe_plugin_state", "The state of a plugin; always 1.", 1, "plugin", p.Name, "version", p.Version, "state", string(p.State))
		e.gauge("nodeprobe_plugin_ok", "1 when a plugin has no problem.", truth(p.Problem == ""), "plugin", p.Name)
		e.counter("nodeprobe_plugin_restarts_total", "How often a plugin was started again.", uint64(max(0, p.Restarts)), "plugin", p.Name)
		e.gauge("nodeprobe_plugin_jobs", "Jobs that a plugin has, and that wait for it.", float64(p.InFlight), "plugin", p.Name, "state", "in_flight")
		e.gauge("nodeprobe_plugin_jobs", "", float64(p.Queued), "plugin", p.Name, "state", "queued")
		for _, name := range slices.Sorted(maps.Keys(p.Counters)) {
			e.counter("nodeprobe_plugin_counted_total", "What a plugin has counted that is of no run, since its process began.", p.Counters[name],
				"plugin", p.Name, "counter", name)
		}
	}
}

func (s *Server) exposeReporters(e *exposition) {
	if s.delivery == nil {
		return
	}
	for _, r := range s.delivery.Status() {
		e.gauge("nodeprobe_reporter_ok", "1 when the last attempt of a reporter went well.", truth(r.LastError == ""), "reporter", r.Name)
		e.gauge("nodeprobe_reporter_backlog", "Records that a reporter has not taken yet.", float64(r.Backlog), "reporter", r.Name)
		e.counter("nodeprobe_reporter_delivered_total", "Records that a reporter took.", r.Delivered, "reporter", r.Name)
	}
}

// exposeResults tells the newest result of each probe at each peer: whatever a
// probe measures has a metric of its own, with its unit.
func (s *Server) exposeResults(e *exposition) {
	paths, _ := s.engine.View()
	names := map[core.NodeID]string{}
	for _, n := range s.mesh.Nodes() {
		names[n.ID] = n.Name()
	}
	left := 0
	for i := range paths {
		p := &paths[i]
		name, known := names[p.Destination]
		if !known {
			continue
		}
		if e.samples+4+len(p.Metrics) > maxSamples {
			left++
			continue
		}
		of := labels("node", p.Destination.String(), "name", name, "probe", p.Probe)
		e.gaugeOf("nodeprobe_result_success", "1 when the newest run succeeded, 0 when it failed; the rest says nothing of the peer.", outcome(p.Outcome), of)
		e.gaugeOf("nodeprobe_result_timestamp_seconds", "When the newest run began.", seconds(p.At), of)
		if p.RTT > 0 {
			e.gaugeOf("nodeprobe_result_rtt_seconds", "Round-trip time.", p.RTT.Seconds(), of)
		}
		for _, m := range p.Metrics {
			e.gaugeOf("nodeprobe_result_"+metricName(m.Name), "What a probe measured in its newest run, in the unit of the name.", m.Value, of)
		}
	}
	e.gauge("nodeprobe_results_left_out", "Results that are not told here because there are too many.", float64(left))
	e.flush()
}
