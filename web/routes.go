package web

import "net/http"

// route is one endpoint. API.md describes each, in the words of pattern.
type route struct {
	pattern string
	class   class
	// browser tells that the host of the request is checked. It is not on what
	// nodes call: they dial by names that only they may know.
	browser bool
	handler handler
}

func (s *Server) routes() []route {
	return []route{
		{"GET /nodeinfo", classWire, false, s.nodeInfo},
		{"GET /health", classWire, false, s.getHealth},
		{"POST /report", classWire, false, s.report},
		{"POST /api/v1/goodbye", classWire, false, s.goodbye},
		{"GET /healthz", classFree, false, s.getAlive},
		{"GET /readyz", classWire, false, s.getReady},
		{"GET /metrics", classAPI, true, s.getMetrics},

		{"GET /{$}", classFree, true, s.toDashboard},
		{"GET /dashboard", classFree, true, s.dashboard},
		{"GET /assets/{name}", classFree, true, s.asset},

		{"GET /api/v1/summary", classAPI, true, s.getSummary},
		{"GET /api/v1/nodes", classAPI, true, s.getNodes},
		{"GET /api/v1/nodes/{id}", classAPI, true, s.getNode},
		{"GET /api/v1/nodes/{id}/history", classAPI, true, s.getHistory},
		{"GET /api/v1/nodes/{id}/documents", classAPI, true, s.getDocuments},
		{"GET /api/v1/paths", classAPI, true, s.getPaths},
		{"GET /api/v1/matrix", classAPI, true, s.getMatrix},
		{"GET /api/v1/events", classAPI, true, s.getEvents},
		{"GET /api/v1/plugins", classAPI, true, s.getPlugins},
		{"GET /api/v1/reports", classAPI, true, s.getReports},
		{"GET /api/v1/reports/{id}", classAPI, true, s.getReport},
		{"GET /api/v1/stream", classAPI, true, s.stream},
	}
}

// adminRoutes are on the admin socket only.
func (s *Server) adminRoutes() []route {
	return []route{
		{pattern: "DELETE /api/v1/nodes/{id}", handler: s.forgetNode},
		{pattern: "POST /api/v1/plugins/{name}/enable", handler: s.enablePlugin},
		{pattern: "POST /api/v1/probe", handler: s.runProbe},
		{pattern: "POST /api/v1/reload", handler: s.reload},
	}
}

func (s *Server) toDashboard(w http.ResponseWriter, r *http.Request, _ caller) {
	http.Redirect(w, r, "/dashboard", http.StatusFound)
}
