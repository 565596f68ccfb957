package web

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/seahow-uk/nodeprobe/core/wire"
)

// healthFor is how long an answer about the node's health holds, and
// healthTimeout how long it may take: what does not answer is not healthy.
const (
	healthFor     = 250 * time.Millisecond
	healthTimeout = 2 * time.Second
)

// Health is what the parts of a node say of themselves. A node without checks
// is not healthy: nobody has looked.
type Health struct {
	Checks []Check
}

// CheckPlugins names the check of the plugins: the summary lists them one by one
// instead.
const CheckPlugins = "plugins"

// Check is one part: "database", "scheduler", [CheckPlugins].
type Check struct {
	Name string
	// Problem is one sentence; empty when all is well.
	Problem string
	// Warning tells that the node does its work in spite of the problem.
	Warning bool
}

// Healthy tells that the node does its work.
func (h Health) Healthy() bool {
	for _, c := range h.Checks {
		if c.Problem != "" && !c.Warning {
			return false
		}
	}
	return len(h.Checks) > 0
}

func (h Health) wire() []wire.Check {
	out := make([]wire.Check, 0, len(h.Checks))
	for _, c := range h.Checks {
		status := "ok"
		switch {
		case c.Problem != "" && c.Warning:
			status = "warning"
		case c.Problem != "":
			status = "failed"
		}
		out = append(out, wire.Check{Name: c.Name, Status: status, Problem: c.Problem})
	}
	return out
}

// healthCache asks once for all who want to know at the same time.
type healthCache struct {
	ask func(context.Context) Health

	mu    sync.Mutex // guards the rest
	last  Health
	until time.Time
}

func (c *healthCache) get(ctx context.Context) Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Before(c.until) {
		return c.last
	}
	// The answer is for others too: it must not depend on this caller's patience.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
	defer cancel()
	c.last = c.ask(ctx)
	c.until = time.Now().Add(healthFor)
	return c.last
}

// getHealth answers GET /health: 503 with the same body when not healthy.
func (s *Server) getHealth(w http.ResponseWriter, r *http.Request, _ caller) {
	health := s.health.get(r.Context())
	up := time.Since(s.self.Started).Round(time.Second)
	body := wire.Health{
		KnownNodes: len(s.mesh.Nodes()), NodeFQDN: s.self.FQDN, NodeID: s.self.ID.String(), NodeIP: s.ip(r),
		Status: wire.Healthy, Timestamp: time.Now().UTC(), Uptime: up.String(),
		Version: s.self.Version, Seconds: int64(up / time.Second), Checks: health.wire(),
	}
	status := http.StatusOK
	if !health.Healthy() {
		status, body.Status = http.StatusServiceUnavailable, wire.Unhealthy
	}
	writeJSON(w, status, body)
}

// getAlive answers GET /healthz: the process serves requests.
func (s *Server) getAlive(w http.ResponseWriter, _ *http.Request, _ caller) {
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

// getReady answers GET /readyz: the node does its work.
func (s *Server) getReady(w http.ResponseWriter, r *http.Request, _ caller) {
	if !s.health.get(r.Context()).Healthy() {
		writeBody(w, http.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte("not ready; see /health\n"))
		return
	}
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}
