package web

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestGoodbyeNeedsAKey(t *testing.T) {
	peer, key := certificate(t)
	stranger, unknown := certificate(t)
	h := start(t, twoNodes(testSelf.ID))
	h.nodes[0].Key = key
	for _, tt := range []struct {
		name   string
		client *http.Client
		want   int
	}{
		{"peer", client(t, peer), http.StatusNoContent},
		{"stranger", client(t, stranger), http.StatusNotFound},
		{"anonymous", client(t), http.StatusForbidden},
	} {
		if a := h.do(t, tt.client, "POST", "/api/v1/goodbye", ""); a.status != tt.want {
			t.Errorf("%s: got %d %s, want %d", tt.name, a.status, a.body, tt.want)
		}
	}
	if !slices.Equal(h.goodbyes, []core.KeyHash{key, unknown}) {
		t.Errorf("told: got %v", h.goodbyes)
	}
}

// TestGoodbyeTellsWhoIsThere: one peer takes it, one is gone, one accepts and
// says nothing, one is not active.
func TestGoodbyeTellsWhoIsThere(t *testing.T) {
	own, key := certificate(t)
	h := start(t, twoNodes(testSelf.ID))
	h.nodes[0].Key = key
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	node := func(addr string, state core.State) core.Node {
		at, err := core.ParseEndpoint(addr, 0)
		if err != nil {
			t.Fatal(err)
		}
		return core.Node{Endpoints: []core.Endpoint{at}, State: state}
	}
	config := func(core.KeyHash) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{own}}
	}
	Goodbye(t.Context(), config, []core.Node{
		node(h.addr, core.StateAlive), node(gone.Addr().String(), core.StateAlive),
		node(silent.Addr().String(), core.StateSuspect), node(h.addr, core.StateDown),
		{State: core.StateAlive},
	})
	if len(h.goodbyes) != 1 {
		t.Errorf("got %d received, want one", len(h.goodbyes))
	}
}
