package web

import (
	"context"
	"net/http"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// How many events one answer lists.
const (
	someEvents = 100
	maxEvents  = 1000
)

type eventsJSON struct {
	At     time.Time    `json:"at"`
	Events []wire.Event `json:"events"`
}

// getEvents answers GET /api/v1/events, newest first.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request, _ caller) {
	p := query(r, "since", "until", "kind", "subject", "open", "limit")
	q := core.EventQuery{
		Since: p.time("since", time.Time{}), Until: p.time("until", time.Time{}),
		Kind: core.EventKind(p.word("kind", "")), Subject: p.text("subject", 128),
		Open: p.flag("open"), Limit: p.number("limit", someEvents, 1, maxEvents),
	}
	if p.refused(w) {
		return
	}
	events, err := s.store.Events(r.Context(), q)
	if err != nil {
		s.storeFailed(w, "events", err)
		return
	}
	out := eventsJSON{At: time.Now().UTC(), Events: make([]wire.Event, 0, len(events))}
	for _, e := range events {
		out.Events = append(out.Events, wire.NewEvent(e))
	}
	writeJSON(w, http.StatusOK, out)
}

type pluginsJSON struct {
	At        time.Time      `json:"at"`
	Plugins   []pluginJSON   `json:"plugins"`
	Probes    []probeJSON    `json:"probes"`
	Reporters []reporterJSON `json:"reporters"`
}

// getPlugins answers GET /api/v1/plugins.
func (s *Server) getPlugins(w http.ResponseWriter, r *http.Request, _ caller) {
	if query(r).refused(w) {
		return
	}
	writeJSON(w, http.StatusOK, pluginsJSON{
		At: time.Now().UTC(), Plugins: newPluginsJSON(s.plugins.Status()),
		Probes: newProbesJSON(s.plugins.Probes()), Reporters: s.reporters(),
	})
}

// reportJSON is the view that another node has sent; Nodes and Paths only when
// one is asked for.
type reportJSON struct {
	Node      core.NodeID `json:"node_id"`
	Verified  bool        `json:"verified"`
	From      string      `json:"from"`
	Sent      time.Time   `json:"timestamp"`
	Received  time.Time   `json:"received"`
	NodeCount int         `json:"node_count"`
	PathCount int         `json:"path_count"`
	Nodes     []wire.Node `json:"nodes,omitempty"`
	Paths     []wire.Path `json:"paths,omitempty"`
}

func newReportJSON(r core.ReportInfo) reportJSON {
	return reportJSON{
		Node: r.Node, Verified: r.Verified, From: r.From, Sent: r.Sent.UTC(), Received: r.Received.UTC(),
		NodeCount: r.NodeCount, PathCount: r.PathCount,
	}
}

type reportsJSON struct {
	At      time.Time    `json:"at"`
	Reports []reportJSON `json:"reports"`
}

// getReports answers GET /api/v1/reports, the latest first.
func (s *Server) getReports(w http.ResponseWriter, r *http.Request, _ caller) {
	if query(r).refused(w) {
		return
	}
	all, err := s.store.Reports(r.Context())
	if err != nil {
		s.storeFailed(w, "reports", err)
		return
	}
	out := reportsJSON{At: time.Now().UTC(), Reports: make([]reportJSON, 0, len(all))}
	for _, rep := range all {
		out.Reports = append(out.Reports, newReportJSON(rep))
	}
	writeJSON(w, http.StatusOK, out)
}

// getReport answers GET /api/v1/reports/{id}: what a node sent, in full. There
// may be two, one proven by a key and one that only claims the id.
func (s *Server) getReport(w http.ResponseWriter, r *http.Request, c caller) {
	id, ok := pathID(w, r)
	if !ok || query(r).refused(w) {
		return
	}
	s.answerInTurn(w, r, c, "reports", func(ctx context.Context) (any, error) {
		sent, err := s.store.ReportsOf(ctx, id)
		out := reportsJSON{At: time.Now().UTC(), Reports: make([]reportJSON, 0, len(sent))}
		for _, rep := range sent {
			out.Reports = append(out.Reports, fullReportJSON(rep))
		}
		return out, err
	})
}

func fullReportJSON(r core.Report) reportJSON {
	out := newReportJSON(core.ReportInfo{
		Node: r.Node, Verified: r.Verified, From: r.From, Sent: r.Sent, Received: r.Received,
		NodeCount: len(r.Nodes), PathCount: len(r.Paths),
	})
	for _, n := range r.Nodes {
		out.Nodes = append(out.Nodes, wire.NewReportedNode(n))
	}
	for _, p := range r.Paths {
		out.Paths = append(out.Paths, wire.NewPath(p))
	}
	return out
}
