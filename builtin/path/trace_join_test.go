package path

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// flowOf is a flow along addresses 10.0.ttl.n: n is 0 for a silent hop; several
// nodes of one hop are a list.
func flowOf(protocol string, reached bool, hops ...[]byte) flow {
	f := flow{protocol: protocol, reached: reached}
	for i, nodes := range hops {
		var h walkHop
		for _, n := range nodes {
			h.add(sighting{addr: netip.AddrFrom4([4]byte{10, 0, byte(i + 1), n}), rtt: time.Duration(i+1) * time.Millisecond})
		}
		f.hops = append(f.hops, h)
	}
	return f
}

func one(n byte) []byte { return []byte{n} }

// drawing is the joined path: hops, with ~ before a gap, then links.
func drawing(p *hopPath) string {
	var b strings.Builder
	short := func(s string) string { return strings.TrimPrefix(s, "10.0.") }
	for _, h := range p.Hops {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if h.Gap {
			b.WriteByte('~')
		}
		if len(h.Nodes) == 0 {
			b.WriteByte('*')
		}
		for i, n := range h.Nodes {
			if i > 0 {
				b.WriteByte('|')
			}
			b.WriteString(short(n.Address.String()) + ":" + strings.Join(n.SeenBy, "+"))
		}
	}
	b.WriteString(" /")
	for _, l := range p.Links {
		b.WriteString(" " + short(l.From) + ">" + short(l.To) + ":" + strings.Join(l.SeenBy, "+"))
	}
	return b.String()
}

func TestJoinFlows(t *testing.T) {
	none := []byte{}
	tests := []struct {
		name  string
		flows []flow
		want  string
	}{
		{
			"one way",
			[]flow{flowOf("udp", true, one(1), one(1)), flowOf("tcp", true, one(1), one(1))},
			"1.1:udp+tcp 2.1:udp+tcp / >1.1:udp+tcp 1.1>2.1:udp+tcp",
		},
		{
			// UDP goes by 2.1 and 3.1, TCP by 2.2 and 3.2: no link between 2.1 and 3.2.
			"two ways",
			[]flow{flowOf("udp", true, one(1), one(1), one(1), one(9)), flowOf("tcp", true, one(1), one(2), one(2), one(9))},
			"1.1:udp+tcp 2.1:udp|2.2:tcp 3.1:udp|3.2:tcp 4.9:udp+tcp" +
				" / >1.1:udp+tcp 1.1>2.1:udp 1.1>2.2:tcp 2.1>3.1:udp 2.2>3.2:tcp 3.1>4.9:udp 3.2>4.9:tcp",
		},
		{
			// Each flow sees another hop: both are known, the link between is not.
			"a gap",
			[]flow{flowOf("udp", true, one(1), none, one(9)), flowOf("tcp", true, none, one(2), one(9))},
			"1.1:udp ~2.2:tcp 3.9:udp+tcp / >1.1:udp 2.2>3.9:tcp",
		},
		{
			"a silent hop",
			[]flow{flowOf("udp", true, one(1), none, one(9))},
			"1.1:udp ~* ~3.9:udp / >1.1:udp",
		},
		{
			"packets that are shared out one by one",
			[]flow{flowOf("udp", true, one(1), []byte{1, 2}, []byte{1, 2}, one(9))},
			"1.1:udp ~2.1:udp|2.2:udp ~3.1:udp|3.2:udp ~4.9:udp / >1.1:udp",
		},
		{
			"UDP is dropped behind the first hop",
			[]flow{flowOf("udp", false, one(1)), flowOf("tcp", true, one(1), one(2), one(9))},
			"1.1:udp+tcp 2.2:tcp 3.9:tcp / >1.1:udp+tcp 1.1>2.2:tcp 2.2>3.9:tcp",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := joinFlows(netip.MustParseAddr("10.0.9.9"), tt.flows)
			if got := drawing(&p); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestPathIdentity(t *testing.T) {
	none := []byte{}
	join := func(reached bool, hops ...[]byte) *hopPath {
		p := joinFlows(netip.MustParseAddr("10.0.9.9"), []flow{flowOf("udp", reached, hops...)})
		return &p
	}
	base := join(true, one(1), one(2), one(9))
	if again := join(true, one(1), one(2), one(9)); again.ID != base.ID || len(base.ID) != 16 {
		t.Errorf("got %s and %s for one way", base.ID, again.ID)
	}
	for name, tt := range map[string]struct {
		p    *hopPath
		same bool
	}{
		"another node":      {join(true, one(1), one(3), one(9)), false},
		"longer":            {join(true, one(1), one(2), one(3), one(9)), false},
		"not up to the end": {join(false, one(1), one(2), one(9)), true},
		"cut off":           {join(false, one(1)), true},
		"nothing heard":     {join(false), true},
		"cut, another node": {join(false, one(1), one(3)), false},
		"cut, and beyond":   {join(false, one(1), none, none, one(4)), false},
		"a hop silent":      {join(true, one(1), none, one(9)), true},
		"one of several":    {join(true, one(1), []byte{2, 3}, one(9)), true},
	} {
		if tt.p.ID == base.ID {
			t.Errorf("%s: got the same identity", name)
		}
		if got := tt.p.sameWay(base); got != tt.same {
			t.Errorf("%s: got the same way %v, want %v", name, got, tt.same)
		}
		if got := base.sameWay(tt.p); got != tt.same {
			t.Errorf("%s, the other way round: got the same way %v, want %v", name, got, tt.same)
		}
	}
}

// The identity stays while routers are silent now and then, and becomes another
// with the way.
func TestRememberPath(t *testing.T) {
	tr := &tracer{paths: map[netip.AddrPort]*hopPath{}}
	at := netip.MustParseAddrPort("10.0.9.9:443")
	see := func(hops ...[]byte) (id, changed string) {
		p := joinFlows(at.Addr(), []flow{flowOf("udp", true, hops...)})
		changed = tr.remember(at, &p)
		return p.ID, changed
	}
	first, _ := see(one(1), []byte{}, one(9))
	fuller, changed := see(one(1), one(2), one(9))
	if fuller == first || changed != "" {
		t.Errorf("got %s, changed from %q, want a fuller identity and no change", fuller, changed)
	}
	if id, changed := see([]byte{}, one(2), one(9)); id != fuller || changed != "" {
		t.Errorf("got %s, changed from %q, want %s", id, changed, fuller)
	}
	other, changed := see(one(1), one(3), one(9))
	if other == fuller || changed != fuller {
		t.Errorf("got %s, changed from %q, want another, changed from %s", other, changed, fuller)
	}
	if id, changed := see(one(1), one(2), one(9)); id != fuller || changed != other {
		t.Errorf("got %s, changed from %q, want %s, changed from %s", id, changed, fuller, other)
	}
}

// An outage is no other way, neither when it begins nor when it ends; a way that
// leads elsewhere is, also when the target does not answer.
func TestRememberPathInOutage(t *testing.T) {
	tr := &tracer{paths: map[netip.AddrPort]*hopPath{}}
	at := netip.MustParseAddrPort("10.0.9.9:443")
	see := func(reached bool, hops ...[]byte) (id, changed string) {
		p := joinFlows(at.Addr(), []flow{flowOf("udp", reached, hops...)})
		changed = tr.remember(at, &p)
		return p.ID, changed
	}
	whole, _ := see(true, one(1), one(2), one(9))
	cut, changed := see(false, one(1), one(2))
	if cut == whole || changed != "" {
		t.Errorf("fall: got %s, changed from %q, want another name than %s and no change", cut, changed, whole)
	}
	if id, changed := see(false, []byte{}, one(2)); id != cut || changed != "" {
		t.Errorf("still down, a hop silent: got %s, changed from %q, want %s", id, changed, cut)
	}
	if _, changed := see(false); changed != "" {
		t.Errorf("nothing heard: got changed from %q, want no change", changed)
	}
	if id, changed := see(true, one(1), one(2), one(9)); id != whole || changed != "" {
		t.Errorf("return: got %s, changed from %q, want %s", id, changed, whole)
	}
	astray, changed := see(false, one(1), one(3))
	if changed != whole {
		t.Errorf("led astray: got changed from %q, want %s", changed, whole)
	}
	if id, changed := see(true, one(1), one(2), one(9)); id != whole || changed != astray {
		t.Errorf("back: got %s, changed from %q, want %s, changed from %s", id, changed, whole, astray)
	}

	tr = &tracer{paths: map[netip.AddrPort]*hopPath{}}
	see(false, one(1), one(2))
	if id, changed := see(true, one(1), []byte{}, one(9)); id == cut || changed != "" {
		t.Errorf("first seen in an outage: got %s, changed from %q, want another name than %s and no change", id, changed, cut)
	}
}

// A document has its bound: 16 KiB.
func TestLongestPathFits(t *testing.T) {
	flows := []flow{{protocol: "udp", reached: true}, {protocol: "tcp", reached: true}}
	for i := range maxHops {
		for j := range flows {
			ip := netip.MustParseAddr("2001:db8:aaaa:bbbb:cccc:dddd:eeee:0").As16()
			ip[14], ip[15] = byte(j+1), byte(i)
			flows[j].hops = append(flows[j].hops, walkHop{seen: []sighting{{addr: netip.AddrFrom16(ip), rtt: time.Hour}}})
		}
	}
	p := joinFlows(netip.MustParseAddr("2001:db8::1"), flows)
	data, err := json.Marshal(p)
	if err != nil || len(data) > 16<<10 {
		t.Errorf("got %d bytes, %v, want 16 KiB at most", len(data), err)
	}
}
