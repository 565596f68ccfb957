package web

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/seahow-uk/nodeprobe/core/wire"
)

func TestHealthTellsTheTruth(t *testing.T) {
	for _, tt := range []struct {
		name   string
		checks []Check
		status int
		word   string
	}{
		{"all well", []Check{{Name: "database"}}, 200, wire.Healthy},
		{"warning", []Check{{Name: "plugins", Problem: "dns does not run", Warning: true}}, 200, wire.Healthy},
		{"failed", []Check{{Name: "database", Problem: "disk is full"}, {Name: "scheduler"}}, 503, wire.Unhealthy},
		{"nobody looked", nil, 503, wire.Unhealthy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, twoNodes(testSelf.ID))
			h.health.Checks = tt.checks
			a := h.do(t, client(t), "GET", "/health", "")
			body := decode[wire.Health](t, a)
			if a.status != tt.status || body.Status != tt.word || body.KnownNodes != 2 || body.Seconds < 60 {
				t.Errorf("got %d %+v, want %d %s", a.status, body, tt.status, tt.word)
			}
			keys := slices.Sorted(maps.Keys(decode[map[string]json.RawMessage](t, a)))
			want := []string{"checks", "known_nodes", "node_fqdn", "node_id", "node_ip", "status", "timestamp", "uptime", "uptime_seconds", "version"}
			if !slices.Equal(keys, want) {
				t.Errorf("keys: got %q, want %q", keys, want)
			}
			if ready := h.do(t, client(t), "GET", "/readyz", ""); ready.status != tt.status {
				t.Errorf("/readyz: got %d, want %d", ready.status, tt.status)
			}
			if alive := h.do(t, client(t), "GET", "/healthz", ""); alive.status != http.StatusOK {
				t.Errorf("/healthz: got %d, want 200", alive.status)
			}
		})
	}
}

func TestHealthIsAskedForAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := twoNodes(testSelf.ID)
		s := newServer(f, nil)
		for range 100 {
			serve(s.Handler(), "127.0.0.1:1", "GET", "/health", "")
		}
		if f.asked != 1 {
			t.Errorf("asked %d times, want once", f.asked)
		}
	})
}
