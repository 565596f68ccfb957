package membership

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seahow-uk/nodeprobe/core"
)

// targets are what the mesh tells the engine to poll, by node.
func (s *sim) services(n int) []core.Service {
	s.mesh.mu.Lock()
	defer s.mesh.mu.Unlock()
	for _, p := range s.mesh.peersLocked() {
		if p.Target.Node == key(n).NodeID() {
			return p.Target.Services
		}
	}
	return nil
}

func TestServicesOfAPeerReachItsTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		one := []core.Service{{Name: "echo", Port: 7, Key: "hush"}}
		for _, want := range [][]core.Service{nil, one, {{Name: "echo", Port: 8, Key: "hush"}}, nil} {
			w.change(func() { h.who.Services = want })
			w.until(2*interval, fmt.Sprint(want), func() bool { return slices.Equal(a.services(1), want) }, a)
		}
		w.change(func() { h.who.Services = one })
		w.until(2*interval, "the service again", func() bool { return slices.Equal(a.services(1), one) }, a)
		w.change(func() { h.down = true })
		w.until(2*interval, "down", a.is(1, core.StateDown), a)
		if got := a.services(1); !slices.Equal(got, one) {
			t.Errorf("got %v of a node that is down, want what it told last", got)
		}
		w.pass(2*interval, a)
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		if text := fmt.Sprintf("%#v %#v", a.store.nodes, a.mesh.Nodes()); strings.Contains(text, "echo") || strings.Contains(text, "hush") {
			t.Errorf("services are stored or shown: %s", text)
		}
	})
}

func TestAnotherKeysServicesAreNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		w.change(func() {
			h.who = identity(2)
			h.who.Services = []core.Service{{Name: "echo", Port: 7, Key: "k"}}
		})
		w.until(2*interval, "quarantined", a.is(1, core.StateQuarantined), a)
		if got := a.services(1); got != nil {
			t.Errorf("got %v of an impostor, want none", got)
		}
	})
}
