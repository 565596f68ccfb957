package web

import (
	"crypto/tls"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

func TestNodeInfoHasTheOriginalsKeys(t *testing.T) {
	h := start(t, twoNodes(testSelf.ID))
	h.nodes = append(h.nodes, core.Node{ID: testSelf.ID, FQDN: "myself", State: core.StateAlive})
	a := h.do(t, client(t), "GET", "/nodeinfo", "")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %s", a.status, a.header.Get("Content-Type"))
	}
	body := decode[map[string]json.RawMessage](t, a)
	want := []string{"boot_id", "fqdn", "id", "ip", "nodes", "port", "proto", "spki_sha256", "version"}
	if got := slices.Sorted(maps.Keys(body)); !slices.Equal(got, want) {
		t.Errorf("keys: got %q, want %q", got, want)
	}
	info := decode[wire.NodeInfo](t, a)
	if len(info.Nodes) != 2 {
		t.Errorf("nodes: got %d, want 2: the node itself is never listed", len(info.Nodes))
	}
	nodes := decode[struct{ Nodes []map[string]any }](t, a).Nodes
	for _, key := range []string{"id", "fqdn", "ip", "discovered_by", "first_seen", "last_seen", "is_active"} {
		for i := range nodes {
			if _, ok := nodes[i][key]; !ok {
				t.Errorf("nodes[%d] has no %s", i, key)
			}
		}
	}
	if nodes[1]["fqdn"] != "192.0.2.2" || nodes[1]["is_active"] != false || nodes[0]["is_active"] != true {
		t.Errorf("got %v, want the address of a node without a name, and down as inactive", nodes)
	}
}

func TestNodeInfoWithoutPeersListsNone(t *testing.T) {
	h := start(t, &fakes{})
	a := h.do(t, client(t), "GET", "/nodeinfo", "")
	if got := string(decode[map[string]json.RawMessage](t, a)["nodes"]); got != "[]" {
		t.Errorf("nodes: got %s, want []", got)
	}
}

func TestViewOnlyForVerifiedPeers(t *testing.T) {
	peer, key := certificate(t)
	stranger, _ := certificate(t)
	h := start(t, twoNodes(testSelf.ID))
	h.nodes[0].Key = key
	paths := func(c *http.Client) int {
		return len(decode[wire.NodeInfo](t, h.do(t, c, "GET", "/nodeinfo", "")).View)
	}
	if n := paths(client(t, peer)); n != 2 {
		t.Errorf("peer: got a view of %d paths, want 2", n)
	}
	if n := paths(client(t, stranger)); n != 0 {
		t.Errorf("stranger with a certificate: got a view of %d paths, want none", n)
	}
	if n := paths(client(t)); n != 0 {
		t.Errorf("anonymous: got a view of %d paths, want none", n)
	}
}

func TestServicesOnlyForVerifiedPeersEachWithItsOwnKey(t *testing.T) {
	one, oneKey := certificate(t)
	two, twoKey := certificate(t)
	stranger, _ := certificate(t)
	h := start(t, twoNodes(testSelf.ID))
	h.nodes[0].Key, h.nodes[1].Key = oneKey, twoKey
	h.mu.Lock()
	h.services = []core.Service{{Name: "reflector", Port: 8444}}
	h.mu.Unlock()
	for i, key := range []core.KeyHash{oneKey, twoKey} {
		c := client(t, []tls.Certificate{one, two}[i])
		for range 2 { // from the cache too
			want := []wire.Service{{Name: "reflector", Port: 8444, Key: append([]byte("reflector for "), key[:4]...)}}
			if got := decode[wire.NodeInfo](t, h.do(t, c, "GET", "/nodeinfo", "")); !reflect.DeepEqual(got.Services, want) || len(got.View) != 2 {
				t.Errorf("peer %d: got %v with a view of %d paths, want %v and the view", i, got.Services, len(got.View), want)
			}
		}
	}
	for name, c := range map[string]*http.Client{"stranger": client(t, stranger), "anonymous": client(t)} {
		if a := h.do(t, c, "GET", "/nodeinfo", ""); strings.Contains(string(a.body), "reflector") {
			t.Errorf("%s: got %s, want no services", name, a.body)
		}
	}
	c := client(t, one)
	tag := h.do(t, c, "GET", "/nodeinfo", "").header.Get("ETag")
	h.mu.Lock()
	h.services[0].Port = 8445
	h.mu.Unlock()
	if a := h.do(t, c, "GET", "/nodeinfo", "", "If-None-Match", tag); a.status != http.StatusOK {
		t.Errorf("after the port moved: got %d, want 200", a.status)
	}
}

func TestNodeInfoNotModified(t *testing.T) {
	peer, key := certificate(t)
	h := start(t, twoNodes(testSelf.ID))
	h.nodes[0].Key = key
	c := client(t, peer)
	tag := h.do(t, c, "GET", "/nodeinfo", "").header.Get("ETag")
	ask := func(c *http.Client, header string) int {
		return h.do(t, c, "GET", "/nodeinfo", "", "If-None-Match", header).status
	}
	for _, header := range []string{tag, `"other", W/` + tag, "*"} {
		if got := ask(c, header); got != http.StatusNotModified {
			t.Errorf("If-None-Match %s: got %d, want 304", header, got)
		}
	}
	if got := ask(c, `"other"`); got != http.StatusOK {
		t.Errorf("another tag: got %d, want 200", got)
	}
	if got := ask(client(t), tag); got != http.StatusOK {
		t.Errorf("a peer's tag from an anonymous caller: got %d, want 200", got)
	}
	h.mu.Lock()
	h.viewed++
	h.mu.Unlock()
	if got := ask(c, tag); got != http.StatusOK {
		t.Errorf("after the view moved: got %d, want 200", got)
	}
	anonymous := h.do(t, client(t), "GET", "/nodeinfo", "").header.Get("ETag")
	h.mu.Lock()
	h.version++
	h.nodes = h.nodes[:1]
	h.mu.Unlock()
	a := h.do(t, client(t), "GET", "/nodeinfo", "", "If-None-Match", anonymous)
	if a.status != http.StatusOK || len(decode[wire.NodeInfo](t, a).Nodes) != 1 {
		t.Errorf("after the members moved: got %d %s, want one node", a.status, a.body)
	}
}

func TestCallersAreLearned(t *testing.T) {
	caller, key := certificate(t)
	local := func(port uint16) core.Endpoint { return core.Endpoint{Host: "127.0.0.1", Port: port} }
	for _, tt := range []struct {
		name    string
		client  *http.Client
		headers []string
		want    []call
	}{
		{"advertised name", client(t, caller), []string{"NodeProbe-Advertise", "Node-7.example.net:8443"}, []call{
			{key, []core.Endpoint{local(8443), {Host: "node-7.example.net", Port: 8443}}},
		}},
		{"advertised where it comes from", client(t, caller), []string{"NodeProbe-Advertise", "127.0.0.1:8444"}, []call{
			{key, []core.Endpoint{local(8444)}},
		}},
		{"not advertised", client(t, caller), nil, []call{{key, []core.Endpoint{local(443)}}}},
		{"hostile advertisement", client(t, caller), []string{"NodeProbe-Advertise", "h:9/admin?x#"}, []call{
			{key, []core.Endpoint{local(443)}},
		}},
		{"original", client(t), []string{"User-Agent", "NodeProbe/1.0"}, []call{{at: []core.Endpoint{local(443)}}}},
		{"browser", client(t), []string{"User-Agent", "Mozilla/5.0", "NodeProbe-Advertise", "192.0.2.9:1"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, &fakes{})
			h.do(t, tt.client, "GET", "/nodeinfo", "", tt.headers...)
			if !reflect.DeepEqual(h.callers, tt.want) {
				t.Errorf("got %v, want %v", h.callers, tt.want)
			}
		})
	}
}

func TestSelfIsNoCaller(t *testing.T) {
	f := &fakes{}
	s := newServer(f, &core.Hub{})
	s.learn(&http.Request{Header: http.Header{}}, caller{ip: netip.MustParseAddr("192.0.2.1"), key: testSelf.Key})
	if len(f.callers) != 0 {
		t.Errorf("got %v, want nothing", f.callers)
	}
}
