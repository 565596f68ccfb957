package membership

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestPolicy(t *testing.T) {
	for _, tc := range []struct {
		host string
		want bool
	}{
		{"10.0.0.1", true},
		{"192.0.2.7", true},
		{"2001:db8::1", true},
		{"node.example", true},
		{"localhosts.example", true},
		{"127.0.0.1", false},
		{"127.9.9.9", false},
		{"::1", false},
		{"::ffff:127.0.0.1", false},
		{"0.0.0.0", false},
		{"0.1.2.3", false},
		{"::", false},
		{"169.254.169.254", false},
		{"fe80::1", false},
		{"fe80::1%eth0", false},
		{"224.0.0.1", false},
		{"ff02::1", false},
		{"255.255.255.255", false},
		{"240.0.0.1", false},
		{"64:ff9b::7f00:1", false},
		{"localhost", false},
		{"LOCALHOST.", false},
		{"x.localhost", false},
		{"localhost.localdomain", false},
		{"ip6-localhost", false},
		{"0177.1", false},
		{"0x7f.1", false},
		{"", false},
		{"a b", false},
		{"host/path", false},
	} {
		if got := (Policy{}).allows(core.Endpoint{Host: tc.host, Port: 443}); got != tc.want {
			t.Errorf("%q: got %t, want %t", tc.host, got, tc.want)
		}
	}
	if (Policy{}).allows(core.Endpoint{Host: "10.0.0.1"}) {
		t.Error("port 0 is allowed")
	}
	p := Policy{
		Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Deny:  []netip.Prefix{netip.MustParsePrefix("10.6.0.0/16")}, Loopback: true,
	}
	for host, want := range map[string]bool{"10.1.1.1": true, "10.6.1.1": false, "192.0.2.1": false, "127.0.0.1": false, "node.example": false} {
		if got := p.allows(core.Endpoint{Host: host, Port: 443}); got != want {
			t.Errorf("%s with lists: got %t, want %t", host, got, want)
		}
	}
	if (Policy{Deny: p.Deny}).allows(core.Endpoint{Host: "node.example", Port: 443}) {
		t.Error("a name may lead to a denied address")
	}
	if !(Policy{Loopback: true}).allows(core.Endpoint{Host: "127.0.0.1", Port: 443}) {
		t.Error("a local mesh may not use loopback")
	}
}

func TestJudge(t *testing.T) {
	self := core.Self{ID: key(0).NodeID(), Key: key(0), BootID: "b"}
	node := func(id core.Identity) *core.Node { return &core.Node{ID: id.ID, Key: id.Key, Proven: proven(id)} }
	one, old := identity(1), original(1)
	claim := func(id core.NodeID, k core.KeyHash) core.Identity { return core.Identity{ID: id, Key: k} }
	for name, tc := range map[string]struct {
		contact
		want verdict
		why  string
	}{
		"new":                   {contact{who: one}, isNew, ""},
		"original":              {contact{who: old}, isNew, ""},
		"no key":                {contact{who: claim(one.ID, core.KeyHash{})}, refuse, "no key"},
		"no id":                 {contact{who: claim(core.NodeID{}, one.Key)}, refuse, "no id"},
		"no id but known key":   {contact{who: claim(core.NodeID{}, one.Key), byKey: node(one)}, isKnown, ""},
		"self":                  {contact{who: core.Identity{ID: self.ID, Key: self.Key, BootID: "b"}}, isSelf, ""},
		"self by key":           {contact{who: core.Identity{ID: one.ID, Key: self.Key}}, isSelf, ""},
		"clone":                 {contact{who: core.Identity{ID: self.ID, Key: self.Key, BootID: "c"}}, isClone, ""},
		"claims self":           {contact{who: claim(self.ID, key(5))}, refuse, "this node"},
		"known":                 {contact{who: one, byKey: node(one), byID: node(one)}, isKnown, ""},
		"known, other id":       {contact{who: claim(old.ID, one.Key), byKey: node(one)}, isKnown, ""},
		"original, other id":    {contact{who: claim(original(2).ID, old.Key), byKey: node(old)}, isRenamed, ""},
		"original, upgraded":    {contact{who: identity(1), byKey: node(old)}, isRenamed, ""},
		"id pinned":             {contact{who: claim(old.ID, key(9)), byID: node(old)}, refuse, "pinned"},
		"id taken, open":        {contact{trust: TrustOpen, who: claim(old.ID, key(9)), byID: node(old)}, isRekeyed, ""},
		"id proven, open":       {contact{trust: TrustOpen, who: claim(one.ID, key(9)), byID: node(one)}, refuse, "follows"},
		"owner of squatted id":  {contact{who: one, byID: node(claim(one.ID, key(9)))}, isOwner, ""},
		"id without key":        {contact{who: old, byID: node(claim(old.ID, core.KeyHash{}))}, isRekeyed, ""},
		"address pinned":        {contact{who: one, holder: node(identity(2))}, refuse, "address"},
		"address taken, open":   {contact{trust: TrustOpen, who: one, holder: node(identity(2))}, isNew, ""},
		"own address":           {contact{who: one, byKey: node(one), byID: node(one), holder: node(one)}, isKnown, ""},
		"known at pinned place": {contact{who: one, byKey: node(one), holder: node(identity(2))}, refuse, "address"},
	} {
		tc.self = self
		if tc.trust == "" {
			tc.trust = TrustTOFU
		}
		got, why := judge(tc.contact)
		if got != tc.want || !strings.Contains(why, tc.why) {
			t.Errorf("%s: got %d %q, want %d %q", name, got, why, tc.want, tc.why)
		}
	}
}

func TestAddEndpoint(t *testing.T) {
	var full []core.Endpoint
	for i := range maxEndpoints {
		full = append(full, addr(i))
	}
	for name, tc := range map[string]struct {
		at    []core.Endpoint
		e     core.Endpoint
		first bool
		want  []core.Endpoint
	}{
		"first of all":   {nil, addr(0), true, full[:1]},
		"behind":         {full[:2], addr(2), false, full[:3]},
		"known, behind":  {full[:2], addr(1), false, full[:2]},
		"works":          {full[:2], addr(1), true, []core.Endpoint{addr(1), addr(0)}},
		"already first":  {full[:2], addr(0), true, full[:2]},
		"full, behind":   {full, addr(99), false, append(slices.Clone(full[:maxEndpoints-1]), addr(99))},
		"full, in front": {full, addr(99), true, append([]core.Endpoint{addr(99)}, full[:maxEndpoints-1]...)},
	} {
		before := slices.Clone(tc.at)
		if got := addEndpoint(tc.at, tc.e, tc.first); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
		if !slices.Equal(before, tc.at) {
			t.Errorf("%s: the old list was changed", name)
		}
	}
}

func TestPace(t *testing.T) {
	var got []time.Duration
	for pace := time.Duration(0); len(got) < 7; got = append(got, pace) {
		pace = nextPace(pace, interval)
	}
	want := []time.Duration{30, 60, 120, 240, 480, 600, 600}
	for i := range want {
		if got[i] != want[i]*time.Second {
			t.Fatalf("got %v, want %v seconds", got, want)
		}
	}
	if got := nextPace(0, time.Hour); got != time.Hour {
		t.Errorf("got %s, want never faster than the interval", got)
	}
}

func TestConflicting(t *testing.T) {
	began := time.Unix(0, 0)
	seen := func(spec string) (s []sighting) { // "a1 b2": boot a at 1, a second later boot b at 2
		for i, f := range strings.Fields(spec) {
			s = append(s, sighting{f[:1], core.Endpoint{Host: f[1:]}, began.Add(time.Duration(i) * time.Second)})
		}
		return s
	}
	for spec, want := range map[string]bool{
		"": false, "a1": false, "a1 b1": false, "a1 b2": false, "a1 b2 a1": true, "a1 b1 a1": false,
		"a1 b2 a2": false, "a1 a2 a1": false, "a1 b2 c1": false, "a1 b2 b1 a1": true, "a1 b2 c3 a1": true,
	} {
		if got := conflicting(seen(spec), time.Minute); got != want {
			t.Errorf("%q: got %t, want %t", spec, got, want)
		}
	}
	if conflicting(seen("a1 b2 a1"), time.Second) {
		t.Error("what lies longer back counts")
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	table, now := newCandidates(), time.Now()
	added := 0
	for source := range 100 {
		for i := range 100 {
			c := &candidate{at: []core.Endpoint{{Host: "h", Port: uint16(source*100 + i + 1)}}, source: addr(source).Host}
			if table.add(now, c) {
				added++
			}
			now = now.Add(time.Millisecond)
		}
	}
	if added != 100*maxPerSource || len(table.byEndpoint) != maxCandidates {
		t.Errorf("added %d, kept %d, want %d and %d", added, len(table.byEndpoint), 100*maxPerSource, maxCandidates)
	}
	table.prune(now.Add(2 * forgetAfter))
	if len(table.byEndpoint)+len(table.sources)+len(table.dialled) != 0 {
		t.Error("something is never forgotten")
	}
}

func TestForgottenCandidateIsNotDialledSooner(t *testing.T) {
	table, now := newCandidates(), time.Now()
	c := &candidate{at: []core.Endpoint{addr(1)}, source: "a"}
	table.add(now, c)
	table.dialled[addr(1)] = dialled{now, nil}
	table.remove(c)
	again := &candidate{at: []core.Endpoint{addr(1)}, source: "b"}
	table.add(now.Add(time.Minute), again)
	if ready, next := table.due(now.Add(2 * time.Minute)); len(ready) != 0 || !next.Equal(now.Add(redialAfter)) {
		t.Errorf("%d ready, next %s, want it after ten minutes", len(ready), next.Sub(now))
	}
}

func TestEvictionTakesTheOldestFailed(t *testing.T) {
	table, now := newCandidates(), time.Now()
	for i := range 4 {
		c := &candidate{at: []core.Endpoint{addr(i)}, source: "s"}
		table.add(now.Add(time.Duration(i)*time.Second), c)
		if i >= 2 {
			c.failed(now)
		}
	}
	table.evict()
	if table.byEndpoint[addr(2)] != nil || len(table.byEndpoint) != 3 {
		t.Error("want the older of those that failed to go")
	}
}

func TestDialBudget(t *testing.T) {
	now := time.Now()
	b := budget{tokens: dialBurst, filled: now}
	for range dialBurst {
		if _, ok := b.spend(now); !ok {
			t.Fatal("the burst is refused")
		}
	}
	wait, ok := b.spend(now)
	if ok || wait < time.Second/2 || wait > time.Second {
		t.Errorf("got %t after %s, want a wait of half a second", ok, wait)
	}
	b = budget{tokens: 1 - 1e-12, filled: now}
	if wait, ok := b.spend(now); ok || wait <= 0 {
		t.Errorf("got %t after %s, want a wait", ok, wait)
	}
	b = budget{filled: now}
	if _, ok := b.spend(now.Add(wait)); !ok {
		t.Error("refused after the wait")
	}
}
