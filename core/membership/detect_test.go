package membership

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// pair is a mesh under test that knows host 1, alive.
func (w *world) pair(tweaks ...tweak) (*sim, *host) {
	h := w.put(addr(1), identity(1))
	a := w.node(0, append([]tweak{seedless(addr(1))}, tweaks...)...)
	w.until(5*time.Second, "the peer is found", a.is(1, core.StateAlive), a)
	w.pass(2*time.Minute, a)
	return a, h
}

// seedless makes the peer known by a call, so that it can expire.
func seedless(at core.Endpoint) tweak {
	return func(o *Options) {
		o.Known = append(o.Known, core.Node{
			ID: key(1).NodeID(), Key: key(1), Proven: true, Endpoints: []core.Endpoint{at},
			State: core.StateAlive, FirstSeen: time.Now(), LastSeen: time.Now(), BootID: "boot 1",
		})
	}
}

func TestDownIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		w.change(func() { h.down = true })
		w.until(interval+interval/5, "suspect", a.is(1, core.StateSuspect), a)
		if a.events.isOpen(core.EventNodeState, key(1).NodeID()) {
			t.Error("one miss is an event")
		}
		took := w.until(4*time.Second, "down", a.is(1, core.StateDown), a)
		if took < 2*time.Second {
			t.Errorf("down after %s, want the second confirmation at 3 s", took)
		}
		if !a.events.isOpen(core.EventNodeState, key(1).NodeID()) {
			t.Error("down is no event")
		}
		if shared, _ := a.mesh.Shared(); len(shared) != 0 {
			t.Error("a node that is down is passed on")
		}
		w.change(func() { h.down = false })
		w.until(3*interval, "alive", a.is(1, core.StateAlive), a)
		w.pass(time.Second, a)
		if a.events.isOpen(core.EventNodeState, key(1).NodeID()) {
			t.Error("the event did not end")
		}
	})
}

func TestOneMissIsNotDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		for range 20 {
			w.change(func() { h.down = true })
			w.until(2*interval, "suspect", a.is(1, core.StateSuspect), a)
			w.change(func() { h.down = false })
			w.until(4*time.Second, "alive", a.is(1, core.StateAlive), a)
		}
		if got := a.events.count("begin node_state"); got != 0 {
			t.Errorf("got %d events, want none", got)
		}
	})
}

func TestLateFailureSaysNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.pair()
		n, _ := a.mesh.ByKey(key(1))
		a.mesh.Observe(core.Result{
			Job:     core.Job{Identifies: true, Target: core.Target{Node: n.ID, Endpoint: n.Endpoints[0]}},
			Outcome: core.OutcomeFailure, Reason: core.ReasonTimeout, Started: n.LastSeen.Add(-time.Second),
		})
		if a.state(1) != core.StateAlive {
			t.Errorf("the state is %q after a failure from before its last answer", a.state(1))
		}
	})
}

func TestMissAtAnotherEndpointIsNoMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.pair()
		n, _ := a.mesh.ByKey(key(1))
		a.mesh.Observe(core.Result{
			Job: core.Job{
				Identifies: true, Trigger: core.TriggerDiscovery,
				Target: core.Target{Node: n.ID, Endpoint: core.Endpoint{Host: "192.0.2.1", Port: 443}},
			},
			Outcome: core.OutcomeFailure, Reason: core.ReasonTimeout, Started: time.Now(),
		})
		if a.state(1) != core.StateAlive {
			t.Errorf("the state is %q after a look at an old address", a.state(1))
		}
	})
}

func TestForgottenSeedIsDialledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.put(addr(1), identity(1))
		a := w.node(0, seeds(addr(1)))
		w.until(time.Second, "found", a.is(1, core.StateAlive), a)
		w.change(func() { h.who = identity(2) })
		w.until(2*interval, "quarantined", a.is(1, core.StateQuarantined), a)
		if err := a.mesh.Forget(key(1).NodeID()); err != nil {
			t.Fatal(err)
		}
		w.until(time.Second, "the new key is pinned", a.is(2, core.StateAlive), a)
		if n, _ := a.mesh.ByKey(key(2)); !n.Seed || len(a.mesh.Nodes()) != 1 {
			t.Errorf("got %+v, want the seed's node alone", a.mesh.Nodes())
		}
		if err := a.mesh.Forget(key(1).NodeID()); !errors.Is(err, ErrUnknownNode) {
			t.Errorf("got %v, want ErrUnknownNode", err)
		}
	})
}

func TestSeedWithGivenIDRefusesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.put(addr(1), identity(66))
		want := key(1).NodeID()
		a := w.node(0, func(o *Options) { o.Seeds = []Seed{{IP: addr(1).Host, Port: 443, ID: want}} })
		w.pass(10*time.Minute, a)
		if len(a.mesh.Nodes()) != 0 || !a.events.isOpen(core.EventNodeIdentity, want) {
			t.Fatalf("got %+v, want nobody and an event", a.mesh.Nodes())
		}
		w.change(func() { h.who = identity(1) })
		w.until(70*time.Second, "the right one", a.is(1, core.StateAlive), a)
		w.pass(time.Second, a)
		if a.events.isOpen(core.EventNodeIdentity, want) {
			t.Error("the event did not end")
		}
	})
}

func TestNextEndpointIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		second := core.Endpoint{Host: "192.0.2.1", Port: 443}
		moved := *h
		w.change(func() { w.hosts[second] = &moved })
		a.mesh.mu.Lock()
		n := a.mesh.byKey[key(1)]
		n.Endpoints = append(n.Endpoints, second)
		a.mesh.byEndpoint[second] = n
		a.mesh.mu.Unlock()
		w.change(func() { h.down = true })
		w.until(interval+10*time.Second, "found at its second endpoint", func() bool {
			n, _ := a.mesh.ByKey(key(1))
			return n.State == core.StateAlive && n.Endpoints[0] == second
		}, a)
		if got := a.events.count("begin node_state"); got != 0 {
			t.Errorf("got %d events, want none: it was never down", got)
		}
	})
}

func TestDeadIsPolledWithBackOffUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		w.change(func() { h.down = true })
		w.until(time.Minute, "down", a.is(1, core.StateDown), a)
		before := w.dialled(addr(1))
		w.pass(24*time.Hour, a)
		if got := w.dialled(addr(1)) - before; got < 140 || got > 155 {
			t.Errorf("a dead node was polled %d times in a day, want about 144 + 5", got)
		}
		w.change(func() { h.down = false })
		w.until(11*time.Minute, "alive after a day", a.is(1, core.StateAlive), a)
		w.change(func() { h.down = true })
		w.pass(6*24*time.Hour, a)
		if a.state(1) != core.StateDown {
			t.Fatalf("state after six days is %q, want down", a.state(1))
		}
		w.pass(25*time.Hour, a)
		if len(a.mesh.Nodes()) != 0 || len(a.store.all()) != 0 {
			t.Errorf("after seven days there are %d nodes, %d in the store", len(a.mesh.Nodes()), len(a.store.all()))
		}
		if a.events.count("note node_expired") != 1 || len(a.events.all()) != 0 {
			t.Errorf("got events %v, open %v", a.events.log, a.events.all())
		}
	})
}

func TestSeedNeverExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.put(addr(1), identity(1))
		a := w.node(0, seeds(addr(1)))
		w.until(time.Second, "found", a.is(1, core.StateAlive), a)
		w.change(func() { h.down = true })
		w.pass(30*24*time.Hour, a)
		if a.state(1) != core.StateDown {
			t.Fatalf("the state is %q, want down", a.state(1))
		}
		w.change(func() { h.down = false })
		w.until(11*time.Minute, "alive", a.is(1, core.StateAlive), a)
	})
}

func TestLongAwaySelfForgetsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(addr(1), identity(1))
		was := core.Node{
			ID: key(1).NodeID(), Key: key(1), Proven: true, Endpoints: []core.Endpoint{addr(1)},
			State: core.StateDown, LastSeen: time.Now().Add(-30 * 24 * time.Hour),
		}
		a := w.node(0, known([]core.Node{was}))
		w.until(2*time.Second, "alive", a.is(1, core.StateAlive), a)
	})
}

func TestDeadAreNotResurrectedByHearsay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		w.change(func() { h.down = true })
		w.until(time.Minute, "down", a.is(1, core.StateDown), a)
		for i := 2; i <= 6; i++ { // five peers go on telling that it lives
			w.put(addr(i), identity(i), hint(1))
			a.mesh.Caller(key(i), addr(i))
		}
		w.pass(7*24*time.Hour+2*time.Hour, a)
		if s := a.state(1); s != "" {
			t.Errorf("the dead node is %q, want forgotten", s)
		}
		if got := len(a.mesh.Nodes()); got != 5 {
			t.Errorf("got %d nodes, want the five that live", got)
		}
		if a.events.count("end node_state") != 1 { // by expiry
			t.Errorf("got events %v", a.events.log)
		}
	})
}

func TestHearsayBringsBackSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		w.change(func() { h.down = true })
		w.pass(12*time.Hour, a)
		w.put(addr(2), identity(2), hint(1))
		w.change(func() { h.down = false })
		a.mesh.Caller(key(2), addr(2))
		w.until(10*time.Second, "alive", a.is(1, core.StateAlive), a)
	})
}

func TestPluginErrorsNeverChangeAState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		w.change(func() { h.broken = true })
		w.pass(24*time.Hour, a)
		if a.state(1) != core.StateAlive {
			t.Errorf("the state is %q, want alive", a.state(1))
		}
		if shared, _ := a.mesh.Shared(); len(shared) != 0 {
			t.Error("a node not seen for a day is passed on")
		}
		w.change(func() { h.broken, h.down = false, true })
		w.until(2*interval, "suspect", a.is(1, core.StateSuspect), a)
		w.change(func() { h.broken = true })
		w.pass(time.Hour, a)
		if a.state(1) != core.StateSuspect {
			t.Errorf("the state is %q, want suspect: nothing was confirmed", a.state(1))
		}
		w.change(func() { h.broken = false })
		w.until(interval+5*time.Second, "down", a.is(1, core.StateDown), a)
	})
}

func TestPluginThatStartsLateDelaysOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h := w.put(addr(1), identity(1))
		w.change(func() { h.broken = true })
		a := w.node(0, seeds(addr(1)))
		w.pass(3*time.Second, a)
		w.change(func() { h.broken = false })
		w.until(3*time.Second, "found", a.is(1, core.StateAlive), a)
	})
}

func TestGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		if a.mesh.Goodbye(key(7)) || !a.mesh.Goodbye(key(1)) {
			t.Fatal("goodbye: got the wrong answers")
		}
		w.pass(10*time.Second, a) // it still answers while it shuts down
		a.mesh.Caller(key(1), addr(1))
		w.pass(10*time.Second, a)
		if a.state(1) != core.StateLeft || !a.events.isOpen(core.EventNodeState, key(1).NodeID()) {
			t.Fatalf("the state is %q, want left with an event", a.state(1))
		}
		w.change(func() { h.down = true })
		before := w.dialled(addr(1))
		w.pass(24*time.Hour, a)
		if got := w.dialled(addr(1)) - before; got < 22 || got > 26 {
			t.Errorf("polled %d times in a day, want hourly", got)
		}
		if a.state(1) != core.StateLeft {
			t.Errorf("the state is %q, want left", a.state(1))
		}
		w.change(func() { h.down, h.who.BootID = false, "boot again" })
		a.mesh.Caller(key(1), addr(1))
		w.until(2*time.Second, "back", a.is(1, core.StateAlive), a)
		w.pass(time.Second, a)
		if len(a.events.all()) != 0 {
			t.Errorf("open events: %v", a.events.all())
		}
	})
}

func TestChangedKeyIsQuarantined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		impostor := identity(66)
		w.change(func() {
			h.who = impostor
			h.list = func() []core.PeerHint { return []core.PeerHint{hint(67)} }
		})
		w.put(addr(67), identity(67))
		w.until(2*interval, "quarantined", a.is(1, core.StateQuarantined), a)
		a.mesh.Caller(impostor.Key, addr(1))
		w.pass(24*time.Hour, a)
		if a.state(1) != core.StateQuarantined || len(a.mesh.Nodes()) != 1 {
			t.Fatalf("got %+v, want the one quarantined node", a.mesh.Nodes())
		}
		if !a.events.isOpen(core.EventNodeIdentity, key(1).NodeID()) {
			t.Error("no event is open")
		}
		if got := w.dialled(addr(67)); got != 0 {
			t.Errorf("the impostor's list was believed: %d dials", got)
		}
		if err := a.mesh.Forget(key(1).NodeID()); err != nil {
			t.Fatal(err)
		}
		a.mesh.Caller(impostor.Key, addr(1))
		w.until(11*time.Minute, "the new key is admitted", a.is(66, core.StateAlive), a)
		w.until(time.Minute, "its list is believed", a.is(67, core.StateAlive), a)
		w.pass(2*time.Second, a)
		kept := slices.ContainsFunc(a.store.all(), func(n core.Node) bool { return n.ID == key(1).NodeID() })
		if kept || len(a.events.all()) != 0 || len(a.store.all()) != 2 {
			t.Errorf("open events %v, %d nodes in the store", a.events.all(), len(a.store.all()))
		}
	})
}

func TestQuarantineEndsWithThePinnedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		w.change(func() { h.who = identity(66) })
		w.until(2*interval, "quarantined", a.is(1, core.StateQuarantined), a)
		moved := core.Endpoint{Host: "192.0.2.1", Port: 443}
		w.put(moved, identity(1))
		a.mesh.Caller(key(1), moved)
		w.until(2*time.Second, "found at its new address", a.is(1, core.StateAlive), a)
		n, _ := a.mesh.ByKey(key(1))
		if n.Endpoints[0] != moved {
			t.Errorf("endpoints %v, want the working one first", n.Endpoints)
		}
		a.mesh.Caller(key(66), addr(1)) // the old address is free for the newcomer now
		w.until(2*time.Second, "newcomer admitted", a.is(66, core.StateAlive), a)
		n, _ = a.mesh.ByKey(key(1))
		if slices.Contains(n.Endpoints, addr(1)) {
			t.Errorf("endpoints %v still hold the newcomer's", n.Endpoints)
		}
	})
}

func TestOpenModeLetsTheNewcomerTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair(open)
		w.change(func() { h.who = identity(66) })
		w.until(2*interval, "newcomer", a.is(66, core.StateAlive), a)
		w.until(2*interval, "the other is down", a.is(1, core.StateDown), a)
		w.pass(time.Hour, a)
		if a.state(66) != core.StateAlive || a.state(1) != core.StateDown {
			t.Errorf("newcomer is %q, the other %q", a.state(66), a.state(1))
		}
	})
}

func TestOriginalWithNewCertificate(t *testing.T) {
	for _, tc := range []struct {
		trust Trust
		want  core.State
	}{{TrustOpen, core.StateAlive}, {TrustTOFU, core.StateQuarantined}} {
		t.Run(string(tc.trust), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				h := w.put(addr(1), original(1))
				a := w.node(0, seeds(addr(1)), func(o *Options) { o.Trust = tc.trust })
				w.until(time.Second, "found", a.is(1, core.StateAlive), a)
				w.change(func() { h.who.Key = key(2) })
				w.pass(2*time.Minute, a)
				n, ok := a.mesh.Node(original(1).ID)
				if !ok || n.State != tc.want || len(a.mesh.Nodes()) != 1 {
					t.Errorf("got %+v, want the same node, %s", n, tc.want)
				}
			})
		})
	}
}

func TestCopiedDataDirectoryIsAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.pair()
		twin := identity(1)
		twin.BootID = "boot of the copy"
		elsewhere := core.Endpoint{Host: "192.0.2.1", Port: 443}
		h := w.put(elsewhere, twin)
		w.put(addr(2), identity(2), core.PeerHint{IP: elsewhere.Host, Port: 443, Active: true})
		a.mesh.Caller(key(2), addr(2))
		open := func() bool { return a.events.isOpen(core.EventConflict, key(1).NodeID()) }
		w.until(3*interval, "conflict", open, a)
		w.pass(10*time.Minute, a)
		n, _ := a.mesh.ByKey(key(1))
		if !open() || n.State != core.StateAlive || n.Endpoints[0] != addr(1) || a.events.count("begin identity_conflict") != 1 {
			t.Errorf("got %+v, events %v, want one lasting conflict and no swap", n, a.events.log)
		}
		w.change(func() { h.down = true })
		w.until(20*time.Minute, "conflict over", func() bool { return !open() }, a)
		if got := a.events.count("begin node_state"); got != 0 {
			t.Errorf("got %d state events, want none", got)
		}
	})
}

func TestRestartElsewhereIsNoConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		who := identity(1)
		who.BootID = "boot again"
		moved := core.Endpoint{Host: "192.0.2.1", Port: 443}
		w.change(func() { h.down = true })
		w.put(moved, who)
		a.mesh.Caller(key(1), moved)
		w.pass(30*time.Minute, a)
		n, _ := a.mesh.ByKey(key(1))
		if n.State != core.StateAlive || n.Endpoints[0] != moved || a.events.count("begin identity_conflict") != 0 {
			t.Errorf("got %+v, events %v", n, a.events.log)
		}
	})
}

func TestOwnKeyElsewhereIsAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		copied := identity(0)
		copied.BootID = "boot of the copy"
		w.put(addr(1), copied)
		a := w.node(0, seeds(addr(1)))
		w.until(2*time.Second, "conflict", func() bool { return a.events.isOpen(core.EventConflict, key(0).NodeID()) }, a)
		if len(a.mesh.Nodes()) != 0 {
			t.Error("self became a node")
		}
	})
}
