package web

import (
	"net/http"
	"reflect"
	"testing"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// admin answers one request on the admin socket.
func admin(f *fakes, method, path, body string) answer {
	return serve(newServer(f, &core.Hub{}).AdminHandler(), "@", method, path, body, "Host", "unix")
}

func TestAdminServesEverything(t *testing.T) {
	f := twoNodes(testSelf.ID)
	for _, rt := range newServer(f, nil).routes() {
		if method, path := rt.example(); method == "GET" && path != "/api/v1/stream" && path != "/" {
			if a := admin(f, method, path, ""); a.status != http.StatusOK {
				t.Errorf("%s: got %d %s", path, a.status, a.body)
			}
		}
	}
}

func TestForgetNode(t *testing.T) {
	f := twoNodes(testSelf.ID)
	if a := admin(f, "DELETE", "/api/v1/nodes/"+nodeID(1).String(), ""); a.status != http.StatusNoContent {
		t.Errorf("known: got %d %s", a.status, a.body)
	}
	if a := admin(f, "DELETE", "/api/v1/nodes/"+nodeID(9).String(), ""); a.status != http.StatusNotFound {
		t.Errorf("unknown: got %d %s", a.status, a.body)
	}
	if a := admin(f, "DELETE", "/api/v1/nodes/x", ""); a.status != http.StatusBadRequest {
		t.Errorf("no id: got %d %s", a.status, a.body)
	}
	if len(f.forgot) != 1 || f.forgot[0] != nodeID(1) {
		t.Errorf("forgot %v", f.forgot)
	}
}

func TestEnablePlugin(t *testing.T) {
	f := twoNodes(testSelf.ID)
	if a := admin(f, "POST", "/api/v1/plugins/https/enable", ""); a.status != http.StatusNoContent {
		t.Errorf("known: got %d %s", a.status, a.body)
	}
	if a := admin(f, "POST", "/api/v1/plugins/other/enable", ""); a.status != http.StatusNotFound {
		t.Errorf("unknown: got %d %s", a.status, a.body)
	}
	f.down = errDown
	if a := admin(f, "POST", "/api/v1/plugins/https/enable", ""); a.status != http.StatusConflict {
		t.Errorf("refused: got %d %s", a.status, a.body)
	}
}

func TestReload(t *testing.T) {
	f := twoNodes(testSelf.ID)
	if a := admin(f, "POST", "/api/v1/reload", ""); a.status != http.StatusNoContent {
		t.Errorf("good: got %d %s", a.status, a.body)
	}
	f.down = errDown
	a := admin(f, "POST", "/api/v1/reload", "")
	if a.status != http.StatusUnprocessableEntity || decode[failure](t, a).Error != errDown.Error() {
		t.Errorf("bad: got %d %s, want 422 with the reason", a.status, a.body)
	}
}

func TestRunProbe(t *testing.T) {
	f := twoNodes(testSelf.ID)
	f.nodes[0].Key = core.KeyHash{7}
	for _, tt := range []struct {
		body, parameter string
		status          int
		want            core.Target
	}{
		{`{"probe":"https","host":"192.0.2.1","port":8443}`, "", 200, core.Target{Node: nodeID(1), Endpoint: f.nodes[0].Endpoints[0], Key: core.KeyHash{7}}},
		{`{"probe":"https","host":"192.0.2.1"}`, "", 200, core.Target{Node: nodeID(1), Endpoint: f.nodes[0].Endpoints[0], Key: core.KeyHash{7}}},
		{`{"probe":"stamp","host":"192.0.2.1"}`, "", 200, core.Target{Node: nodeID(1), Endpoint: core.Endpoint{Host: "192.0.2.1"}, Key: core.KeyHash{7}}},
		{`{"probe":"https","host":"192.0.2.1","port":9}`, "", 200, core.Target{Endpoint: core.Endpoint{Host: "192.0.2.1", Port: 9}}},
		{`{"probe":"https","host":"Example.net"}`, "", 200, core.Target{Endpoint: core.Endpoint{Host: "example.net"}}},
		{`{"probe":"icmp","host":"example.net"}`, "probe", 400, core.Target{}},
		{`{"probe":"https","host":"h:1/x"}`, "host", 400, core.Target{}},
		{`{"probe":"https","host":"example.net","prot":1}`, "", 400, core.Target{}},
		{`{`, "", 400, core.Target{}},
	} {
		f.targets = nil
		a := admin(f, "POST", "/api/v1/probe", tt.body)
		if a.status != tt.status || decode[failure](t, a).Parameter != tt.parameter {
			t.Errorf("%s: got %d %s", tt.body, a.status, a.body)
		}
		if tt.status != 200 {
			continue
		}
		if len(f.targets) != 1 || !reflect.DeepEqual(f.targets[0], tt.want) {
			t.Errorf("%s: target: got %+v, want %+v", tt.body, f.targets, tt.want)
		}
		if r := decode[wire.Result](t, a); r.Outcome != "failure" || r.Reason != "timeout" || r.Trigger != "manual" {
			t.Errorf("%s: got %+v", tt.body, r)
		}
	}
}
