package membership

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(addr(1), identity(1))
		w.put(addr(2), identity(2))
		a := w.node(0, seeds(addr(1)))
		w.until(time.Second, "the seed is found", a.is(1, core.StateAlive), a)

		one, two := Seed{IP: addr(1).Host, Port: 443}, Seed{IP: addr(2).Host, Port: 443}
		before := w.dialled(addr(1))
		a.mesh.Reconfigure(interval, []Seed{one, two}, Policy{})
		w.until(time.Second, "the new seed is found", a.is(2, core.StateAlive), a)
		if got := w.dialled(addr(1)); got > before+2 {
			t.Errorf("the known seed was dialled %d times more, want only looked at", got-before)
		}

		a.mesh.Reconfigure(interval, []Seed{two}, Policy{Deny: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		w.pass(time.Minute, a)
		for id, seed := range map[int]bool{1: false, 2: true} {
			n, ok := a.mesh.Node(identity(id).ID)
			if !ok || n.Seed != seed || n.State != core.StateAlive {
				t.Errorf("node %d: got %+v, want it alive with Seed %v", id, n, seed)
			}
		}
		denied := core.Endpoint{Host: "192.0.2.5", Port: 443}
		w.put(denied, identity(3))
		a.mesh.Caller(key(3), denied)
		w.pass(time.Minute, a)
		if got := w.dialled(denied); got != 0 {
			t.Errorf("a denied address was dialled %d times", got)
		}
	})
}

func TestLongerIntervalKeepsNodesShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.pair()
		const longer = 10 * interval
		a.engine.SetProbes([]core.ProbeInfo{{Name: "https", Interval: longer, Timeout: 10 * time.Second, Identifies: true}})
		a.mesh.Reconfigure(longer, nil, Policy{})
		for range 60 {
			w.pass(time.Minute, a)
			if shared, _ := a.mesh.Shared(); len(shared) != 1 {
				t.Fatal("a node that answers every poll is not passed on")
			}
		}
	})
}

// TestSeedProblems: a seed that leads nowhere is one from its second failure on,
// until it answers, and not where its node is known.
func TestSeedProblems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		late, wrong, gone := w.put(addr(1), identity(1)), w.put(addr(2), identity(2)), w.put(addr(3), identity(3))
		w.change(func() { late.down, gone.down = true, true })
		was := core.Node{ID: identity(3).ID, Key: key(3), Proven: true, Endpoints: []core.Endpoint{addr(3)}, Seed: true, State: core.StateDown, LastSeen: time.Now()}
		a := w.node(0, seeds(addr(1), addr(3)), known([]core.Node{was}), func(o *Options) {
			o.Seeds = append(o.Seeds, Seed{IP: addr(2).Host, Port: 443, ID: identity(9).ID})
		})
		if got := a.mesh.SeedProblems(); len(got) > 0 {
			t.Errorf("at first: got %q, want none", got)
		}
		w.pass(500*time.Millisecond, a)
		if got := a.mesh.SeedProblems(); len(got) > 0 {
			t.Errorf("after one failure: got %q, want none", got)
		}
		w.pass(5*time.Second, a)
		want := []string{
			"seed " + addr(1).String() + " does not answer: connection refused",
			"seed " + addr(2).String() + " is refused: is not the node that seed.json says it is",
		}
		if got := a.mesh.SeedProblems(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		w.change(func() { late.down, wrong.who = false, identity(9) })
		w.pass(2*time.Minute, a)
		if got := a.mesh.SeedProblems(); len(got) > 0 {
			t.Errorf("after they answer: got %q, want none", got)
		}
	})
}
