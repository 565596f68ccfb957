package core

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestServiceKeysAreNotShown(t *testing.T) {
	target := Target{Services: []Service{{Name: "echo", Port: 7, Key: ServiceKey("hush-hush")}}}
	var log strings.Builder
	hclog.New(&hclog.LoggerOptions{Output: &log}).Info("m", "target", target, "key", target.Services[0].Key)
	text, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", target, target, target, target.Services[0].Key), string(text), log.String()} {
		if strings.Contains(s, "hush") || strings.Contains(s, "104 117") || strings.Contains(s, "aHVzaC") {
			t.Errorf("got %s", s)
		}
	}
}

func TestJobsHaveServicesAndThePeersPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		services := []Service{{Name: "echo", Port: 7, Key: ServiceKey("k")}}
		d := answering(func(j Job) Result {
			out := success(j)
			out.Learned = &Learned{Identity: &Identity{ID: j.Target.Node, Services: services}}
			return out
		})
		e, stop := start(t, r.options(d))
		peers := testPeers(1)
		peers[0].Target.Services = services
		e.SetProbes(testProbes(1))
		e.SetPeers(peers)
		time.Sleep(testInterval / 2)
		by, err := e.Probe(t.Context(), "p0", Target{Node: peers[0].Target.Node, Endpoint: Endpoint{Host: peers[0].Target.Host}})
		if err != nil {
			t.Fatal(err)
		}
		stop()
		for _, j := range d.seen() {
			if !slices.Equal(j.Target.Services, services) {
				t.Errorf("job %d got services %v, want %v", j.ID, j.Target.Services, services)
			}
			if j.PeerPort != peers[0].Target.Port {
				t.Errorf("job %d got the peer's port %d, want %d", j.ID, j.PeerPort, peers[0].Target.Port)
			}
		}
		if len(d.seen()) < 2 || len(r.saved) == 0 || by.Job.Target.Services != nil {
			t.Fatalf("got %d jobs, %d results saved, and by hand %v", len(d.seen()), len(r.saved), by.Job.Target)
		}
		for _, x := range r.saved {
			if x.Job.Target.Services != nil || x.Learned.Identity.Services != nil {
				t.Errorf("a saved result has services: %v", x)
			}
		}
		for _, x := range r.observed {
			if !slices.Equal(x.Learned.Identity.Services, services) {
				t.Errorf("observed %v, want the services", x.Learned.Identity)
			}
		}
	})
}
