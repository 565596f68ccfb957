package plugins

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// peerSpec is a plugin of the SDK with a probe that serves at port.
func peerSpec(name, port string, grants ...string) Spec {
	s := spec(name, "sdk", nil)
	s.Probes = []ProbeSpec{{Name: name, Kind: "peer", Config: json.RawMessage(`{"port":` + port + `}`)}}
	s.Grants = grants
	return s
}

func TestServicesAreThoseThatRun(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Grant = grants(map[string]string{"service.echo": "one", "services": ""}) })
	want := func(when string, ports ...uint16) {
		t.Helper()
		var got []uint16
		for _, s := range r.Services() {
			if s.Name != "echo" || s.Key != "" {
				t.Errorf("%s: got %+v", when, s)
			}
			got = append(got, s.Port)
		}
		if !slices.Equal(got, ports) {
			t.Errorf("%s: got ports %v, want %v", when, got, ports)
		}
	}
	r.apply(peerSpec("a", "7", "service.echo"))
	want("granted", 7)
	r.apply(peerSpec("a", "7", "service.echo"), peerSpec("b", "8", "service.echo"))
	want("two of one name: the first plugin's", 7)
	r.apply(peerSpec("a", "9", "service.echo"))
	want("reloaded", 9)
	r.apply(peerSpec("a", "9"))
	want("no longer granted")
	r.apply(peerSpec("a", "9", "service.echo"))
	want("granted again", 9)
	r.apply(peerSpec("a", "0", "service.echo"))
	want("switched off")
	r.apply()
	want("removed")
}

func TestServicesThatComeLater(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Grant = grants(map[string]string{"service.echo": "one"})
		o.HeartbeatEvery = 20 * time.Millisecond
	})
	s := peerSpec("a", "7", "service.echo")
	s.Probes[0].Config = json.RawMessage(`{"port":7,"later":3}`)
	r.apply(s, peerSpec("b", "8"))
	for end := time.Now().Add(patience); !slices.Equal(r.Services(), []core.Service{{Name: "echo", Port: 7}}); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %+v, want that of a", r.Services())
		}
	}
}

func TestServicesOfATargetNeedTheGrant(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Grant = grants(map[string]string{"service.echo": "one", "services": ""})
		o.Node.SPKI = someKey
	})
	ask := func() map[string]string {
		t.Helper()
		id := r.ids.Add(1)
		target := core.Target{Endpoint: core.Endpoint{Host: "192.0.2.1", Port: 443}, Services: []core.Service{{Name: "echo", Port: 7, Key: "key"}}}
		if err := r.Submit(core.Job{ID: id, Probe: "a", Target: target, Due: time.Now(), Timeout: patience}); err != nil {
			t.Fatal(err)
		}
		return r.result(id).Attributes
	}
	for _, tt := range []struct {
		grants                  []string
		wantService, wantSecret string
	}{
		{nil, "", ""},
		{[]string{"services"}, "7 6b6579", ""},
		{[]string{"service.echo"}, "", "6f6e65"},
		{[]string{"services", "service.echo"}, "7 6b6579", "6f6e65"},
	} {
		r.apply(peerSpec("a", "0", tt.grants...))
		got := ask()
		if got["service"] != tt.wantService || got["secret"] != tt.wantSecret || got["own_key"] != someKey.String() {
			t.Errorf("granted %v: got %v, want %q and %q", tt.grants, got, tt.wantService, tt.wantSecret)
		}
		r.Regrant(context.Background())
		if got := ask(); got["service"] != tt.wantService {
			t.Errorf("granted %v, again: got %v", tt.grants, got)
		}
	}
}
