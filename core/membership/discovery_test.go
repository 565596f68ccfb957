package membership

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mesh starts n nodes whose one seed is node 0.
func (w *world) oneSeed(n int) []*sim {
	sims := []*sim{w.node(0)}
	for i := 1; i < n; i++ {
		sims = append(sims, w.node(i, seeds(addr(0))))
	}
	return sims
}

func TestOneSeedIsEnough(t *testing.T) {
	for _, tc := range []struct {
		nodes int
		limit time.Duration
	}{
		{2, 2 * time.Second},
		{4, 5 * time.Second},
		{20, 8 * time.Second},
		{100, 60 * time.Second},
	} {
		t.Run(fmt.Sprint(tc.nodes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				sims := w.oneSeed(tc.nodes)
				took := w.until(tc.limit, "everybody knows everybody", knowsAll(sims), sims...)
				t.Logf("%d nodes: %s", tc.nodes, took)
				w.pass(interval, sims...)
				if !knowsAll(sims)() {
					t.Error("the mesh did not stay whole")
				}
			})
		})
	}
}

func TestSeedThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sims := []*sim{w.node(1, seeds(addr(0))), w.node(2, seeds(addr(0)))}
		w.dead(addr(0), identity(0))
		w.pass(time.Hour, sims...)
		if got := w.dialled(addr(0)); got < 2*55 || got > 2*75 {
			t.Errorf("a dead seed was dialled %d times in an hour, want about once a minute by each", got)
		}
		sims = append(sims, w.node(0))
		w.until(70*time.Second, "whole after the seed came", knowsAll(sims), sims...)
	})
}

func TestSilentSeedIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.dead(addr(1), identity(1))
		var said bytes.Buffer
		a := w.node(0, seeds(addr(1)), func(o *Options) { o.Log = hclog.New(&hclog.LoggerOptions{Output: &said}) })
		w.pass(time.Hour, a)
		a.stop()
		if got := said.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "connection refused") || !strings.Contains(got, addr(1).String()) {
			t.Errorf("got %q, want one line with address and reason", got)
		}
	})
}

func TestChainOfSeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sims := []*sim{w.node(0)}
		for i := 1; i < 12; i++ {
			sims = append(sims, w.node(i, seeds(addr(i-1))))
		}
		took := w.until(30*time.Second, "whole", knowsAll(sims), sims...)
		t.Log(took)
	})
}

func TestSeedWithTwoNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		name := core.Endpoint{Host: "seed.example", Port: 443}
		other := core.Endpoint{Host: "other.example", Port: 443}
		s := w.put(addr(1), identity(1))
		w.change(func() { w.hosts[name], w.hosts[other] = s, s })
		a := w.node(0, func(o *Options) {
			o.Seeds = []Seed{{FQDN: name.Host, IP: addr(1).Host, Port: 443}, {FQDN: other.Host, Port: 443}}
		})
		w.until(time.Second, "found", func() bool { return len(a.mesh.Nodes()) == 1 }, a)
		first := a.mesh.Nodes()[0].Endpoints[0]
		w.pass(time.Minute, a)
		a.mesh.Caller(key(1), core.Endpoint{Host: "192.0.2.5", Port: 443})
		w.put(core.Endpoint{Host: "192.0.2.5", Port: 443}, identity(1))
		w.pass(time.Minute, a)
		ns := a.mesh.Nodes()
		if len(ns) != 1 || !ns[0].Seed || ns[0].DiscoveredBy != "seed" || len(ns[0].Endpoints) != 4 {
			t.Fatalf("got %+v, want one seed node with four endpoints", ns)
		}
		if a.mesh.Candidates() != 0 {
			t.Errorf("got %d candidates, want none", a.mesh.Candidates())
		}
		if ns[0].Endpoints[0] != first {
			t.Errorf("endpoints %v, want the first that worked to stay first", ns[0].Endpoints)
		}
		if !ns[0].IP().IsValid() {
			t.Error("the node has no IP")
		}
	})
}

func TestSeedNameThatDoesNotResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.dead(core.Endpoint{Host: "gone.example", Port: 443}, identity(9))
		w.put(addr(1), identity(1))
		a := w.node(0, func(o *Options) { o.Seeds = []Seed{{FQDN: "gone.example", IP: addr(1).Host, Port: 443}} })
		w.until(2*time.Second, "found by its address", a.is(1, core.StateAlive), a)
	})
}

func TestSelfAmongTheSeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		alias := core.Endpoint{Host: "me.example", Port: 443}
		byNAT := core.Endpoint{Host: "192.0.2.99", Port: 443}
		a := w.node(0, seeds(addr(0), alias, addr(1), addr(2)))
		w.change(func() { w.hosts[alias] = a.host })
		b := w.node(1, seeds(addr(0), addr(1)))
		w.put(addr(2), original(2), core.PeerHint{FQDN: byNAT.Host, IP: byNAT.Host, Active: true})
		w.change(func() { w.hosts[byNAT] = a.host })
		w.until(5*time.Second, "whole", func() bool { return len(a.mesh.Nodes()) == 2 && len(b.mesh.Nodes()) == 2 }, a, b)
		w.pass(time.Hour, a, b)
		if got := w.dialled(byNAT); got < 1 || got > 8 { // b has it as another address of a, too
			t.Errorf("self was dialled %d times by its outer address", got)
		}
		a.mesh.mu.Lock()
		if !a.mesh.selfAt[byNAT] || len(a.mesh.candidates.byEndpoint) != 0 {
			t.Error("self's outer address was not remembered")
		}
		a.mesh.mu.Unlock()
		if got := w.dialled(alias); got != 1 {
			t.Errorf("self was dialled %d times by its alias, want once", got)
		}
		if a.mesh.Candidates() != 0 {
			t.Errorf("got %d candidates, want none", a.mesh.Candidates())
		}
	})
}

func TestNodesBehindOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		at := func(n int) core.Endpoint { return core.Endpoint{Host: "127.0.0.1", Port: uint16(8443 + n)} }
		local := func(o *Options) { o.Policy.Loopback = true }
		sims := []*sim{w.nodeAt(0, at(0), local)}
		for i := 1; i < 4; i++ {
			sims = append(sims, w.nodeAt(i, at(i), local, seeds(at(0))))
		}
		w.until(5*time.Second, "whole", knowsAll(sims), sims...)
	})
}

func TestLoopbackIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := core.Endpoint{Host: "127.0.0.1", Port: 8080}
		w.put(local, identity(7))
		w.put(addr(1), identity(1), core.PeerHint{ID: key(7).NodeID(), IP: local.Host, Port: local.Port, Active: true})
		a := w.node(0, seeds(addr(1)))
		a.mesh.Caller(key(8), local)
		w.pass(time.Minute, a)
		if got := w.dialled(local); got != 0 {
			t.Errorf("loopback was dialled %d times", got)
		}
		if len(a.mesh.Nodes()) != 1 {
			t.Errorf("got %d nodes, want 1", len(a.mesh.Nodes()))
		}
	})
}

func TestFakesAreBudgeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		fakes := make([]core.PeerHint, 5000)
		for i := range fakes {
			ip := netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})
			fakes[i] = core.PeerHint{ID: key(10000 + i).NodeID(), IP: ip.String(), Port: 443, Active: true}
		}
		w.put(addr(1), identity(1), fakes...)
		a := w.node(0, seeds(addr(1)))
		b := w.node(2, seeds(addr(0)))
		w.pass(time.Hour-time.Minute, a, b)
		if got := len(a.mesh.Nodes()); got != 2 {
			t.Errorf("got %d nodes, want 2", got)
		}
		if got := a.mesh.Candidates(); got > maxPerSource {
			t.Errorf("one liar made %d candidates, want at most %d", got, maxPerSource)
		}
		dialled := 0
		for _, f := range fakes {
			n := w.dialled(core.Endpoint{Host: f.IP, Port: 443})
			dialled += n
			if n > 2*6 {
				t.Fatalf("%s was dialled %d times in an hour by two nodes", f.IP, n)
			}
		}
		if dialled > 2*maxPerSource*6 {
			t.Errorf("fakes were dialled %d times in an hour", dialled)
		}
		shared, _ := a.mesh.Shared()
		if len(shared) != 2 {
			t.Errorf("got %d shared, want 2", len(shared))
		}
		if s := a.state(2); s != core.StateAlive {
			t.Errorf("the honest node is %q", s)
		}
	})
}

func TestLongHonestListIsTakenInWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var list []core.PeerHint
		for i := 2; i < 302; i++ {
			w.put(addr(i), identity(i))
			list = append(list, hint(i))
		}
		h := w.put(addr(1), identity(1), list...)
		w.change(func() { h.tagged = true })
		a := w.node(0, seeds(addr(1)))
		took := w.until(15*time.Second, "301 nodes", func() bool { return len(a.mesh.Nodes()) == 301 }, a)
		t.Log(took)
	})
}

func TestDialsOfManySourcesAreBudgeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node(0)
		for i := 1; i <= 1000; i++ { // each calls from an address of its own, where nobody is
			w.dead(addr(i), identity(i))
			a.mesh.Caller(key(i), addr(i))
		}
		w.pass(time.Minute, a)
		dialled := 0
		for i := 1; i <= 1000; i++ {
			dialled += w.dialled(addr(i))
		}
		if most := dialBurst + 60*dialRate + 1; dialled < dialBurst || dialled > int(most) {
			t.Errorf("got %d dials in a minute, want %d to %.0f", dialled, dialBurst, most)
		}
	})
}

func TestOneNetworkOfCallersLeavesRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node(0)
		for i := range 2 * maxCandidates { // one host, a new address for every call
			ip := netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)})
			a.mesh.Caller(core.KeyHash{}, core.Endpoint{Host: ip.String(), Port: 443})
		}
		if got := a.mesh.Candidates(); got > maxPerSource {
			t.Errorf("one network made %d candidates, want at most %d", got, maxPerSource)
		}
		w.pass(time.Minute, a)
		w.put(addr(1), identity(1))
		a.mesh.Caller(key(1), addr(1))
		w.until(5*time.Second, "an honest caller is dialled back", a.is(1, core.StateAlive), a)
	})
}

func TestVictimIsSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		victim := addr(99)
		w.dead(victim, identity(99))
		for i := 1; i <= 5; i++ { // five liars name one victim, each under another id
			w.put(addr(i), identity(i), core.PeerHint{ID: key(50 + i).NodeID(), IP: victim.Host, Port: victim.Port, Active: true})
		}
		a := w.node(0, seeds(addr(1), addr(2), addr(3), addr(4), addr(5)))
		w.pass(10*time.Minute-interval, a)
		if got := w.dialled(victim); got != 1 {
			t.Errorf("the victim was dialled %d times in 10 minutes, want once", got)
		}
	})
}

// One caller, and one liar, name a victim as the other way to ever new nodes.
func TestVictimIsSparedAsASecondAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		victim := addr(99)
		w.dead(victim, identity(99))
		var fakes []core.PeerHint
		for i := range 50 {
			fakes = append(fakes, core.PeerHint{ID: key(1000 + i).NodeID(), IP: addr(1000 + i).Host, FQDN: "victim.example", Port: 443})
		}
		named := core.Endpoint{Host: "victim.example", Port: 443}
		w.dead(named, identity(98))
		w.put(addr(1), identity(1), fakes...)
		a := w.node(0, seeds(addr(1)))
		for i := range 50 {
			a.mesh.Caller(key(2), core.Endpoint{Host: addr(2).Host, Port: uint16(1000 + i)}, victim)
		}
		w.pass(10*time.Minute-interval, a)
		if got := w.dialled(victim) + w.dialled(named); got > 2*(1+len(callerRetries)) {
			t.Errorf("the victims were dialled %d times in 10 minutes", got)
		}
	})
}

func TestOriginalPeersDoNotPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dead := core.PeerHint{ID: original(8).ID, FQDN: "o8.example", IP: addr(8).Host, Active: true}
		list := []core.PeerHint{
			dead,
			{FQDN: "n0.example", IP: addr(0).Host, Active: true},             // seed- twin of us
			{FQDN: "o2.example", IP: addr(2).Host, Active: true},             // seed- twin of node 2
			{ID: original(2).ID, FQDN: "o2.example", IP: addr(2).Host},       // false is_active
			{ID: original(3).ID, Active: true},                               // blank
			{},                                                               // nothing at all
			{ID: identity(0).ID, FQDN: "x.example", IP: addr(7).Host},        // our id elsewhere
			{ID: original(4).ID, FQDN: "unknown", IP: "", Active: true},      // its default name
			{ID: original(5).ID, FQDN: "localhost", IP: "::1", Active: true}, // itself, it thinks
		}
		w.put(addr(1), original(1), list...)
		w.put(addr(2), original(2), list...)
		a := w.node(0, seeds(addr(1)))
		w.until(3*time.Second, "both found", func() bool { return len(a.mesh.Nodes()) == 2 }, a)
		w.pass(2*time.Hour, a)
		for _, n := range a.mesh.Nodes() {
			if n.State != core.StateAlive || n.Proven || n.Endpoints[0].Port != 443 {
				t.Errorf("got %+v, want an unproven, living node at port 443", n)
			}
		}
		if len(a.mesh.Nodes()) != 2 {
			t.Errorf("got %d nodes, want 2", len(a.mesh.Nodes()))
		}
	})
}

// In containers on many hosts, the originals all tell the same inner address.
func TestNodesThatTellOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const all = 12
		at := func(n int) core.Endpoint { return core.Endpoint{Host: fmt.Sprintf("o%d.example", n), Port: 443} }
		var list []core.PeerHint
		for n := 1; n <= all; n++ {
			list = append(list, core.PeerHint{ID: original(n).ID, FQDN: at(n).Host, IP: "172.17.0.2", Active: true})
		}
		for n := 1; n <= all; n++ {
			w.put(at(n), original(n), list...)
		}
		a := w.node(0, seeds(at(1)))
		w.until(time.Minute, "all found", func() bool { return len(a.mesh.Nodes()) == all }, a)
	})
}

// A caller goes out through the address of another node, and says where it is.
func TestCallerBehindAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.pair()
		w.put(addr(2), identity(2))
		a.mesh.Caller(key(2), addr(1), addr(2))
		w.until(5*time.Second, "dialled back", a.is(2, core.StateAlive), a)
		if n, _ := a.mesh.ByKey(key(1)); n.State != core.StateAlive || n.Endpoints[0] != addr(1) {
			t.Errorf("got %+v, want the other node as it was", n)
		}
	})
}

func TestAnonymousCallerIsDialledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(addr(1), original(1))
		a := w.node(0)
		a.mesh.Caller(core.KeyHash{}, addr(1))
		w.until(time.Second, "dialled back", a.is(1, core.StateAlive), a)
		if n, _ := a.mesh.ByKey(key(1)); n.DiscoveredBy != "caller" {
			t.Errorf("discovered by %q, want caller", n.DiscoveredBy)
		}
	})
}

func TestRestartPollsKnownNodesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sims := w.oneSeed(4)
		w.until(5*time.Second, "whole", knowsAll(sims), sims...)
		w.pass(10*time.Second, sims...)
		sims[0].stop()
		w.change(func() { sims[0].host.down = true })
		w.pass(2*time.Minute, sims[1:]...)
		sims[0] = w.node(0, known(sims[0].store.all()), func(o *Options) { o.Self.BootID = "again" })
		w.until(2*time.Second, "whole after the restart", knowsAll(sims), sims...)
		if n, _ := sims[1].mesh.ByKey(key(0)); n.BootID != "again" || !n.Seed {
			t.Errorf("got %+v, want the new boot id", n)
		}
	})
}

func TestSilentMeshIsNotPolledFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sims := w.oneSeed(4)
		w.pass(2*time.Minute, sims...)
		before := w.dialled(addr(1))
		w.pass(time.Hour, sims...)
		if got := w.dialled(addr(1)) - before; got < 3*118 || got > 3*122 {
			t.Errorf("got %d polls of a node by three in an hour, want 360", got)
		}
	})
}
