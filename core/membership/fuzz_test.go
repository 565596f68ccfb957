package membership

import (
	"context"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// noDialer takes every order.
type noDialer struct{}

func (noDialer) Dial(core.Target, core.Trigger, bool) error { return nil }

// FuzzObserve feeds a mesh with arbitrary results, callers and farewells and
// holds it to its invariants after each.
func FuzzObserve(f *testing.F) {
	f.Add([]byte{0}, "10.0.0.1", "n1.example", uint16(443))
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, "::ffff:127.0.0.1", "localhost", uint16(0))
	f.Add([]byte("\x10\x21\x32\x43\x54\x65\x76\x87\x98\xa9\xba\xcb\xdc\xed\xfe"), "10.0.0.2", "evil\r\nHost: x", uint16(8443))
	f.Fuzz(func(t *testing.T, script []byte, ip, name string, port uint16) {
		m := New(Options{
			Self:    core.Self{ID: key(0).NodeID(), Key: key(0), BootID: "boot 0", Advertise: addr(0)},
			Trust:   []Trust{TrustTOFU, TrustOpen}[len(script)%2],
			Seeds:   []Seed{{IP: addr(1).Host, Port: 443}, {FQDN: name, IP: ip, Port: port}},
			Journal: &fakeJournal{}, Dialer: noDialer{}, Store: &fakeStore{nodes: map[core.NodeID]core.Node{}},
		})
		now := time.Now()
		for i, b := range script[:min(len(script), 64)] {
			now = now.Add(time.Duration(b) * time.Second)
			m.fuzzOne(i, b, core.PeerHint{ID: key(int(b) % 5).NodeID(), IP: ip, FQDN: name, Port: port, Active: b%2 == 0})
			m.step(now)
			if err := m.invalid(); err != nil {
				t.Fatalf("step %d (%#x): %v", i, b, err)
			}
			m.Shared()
		}
		if err := m.save(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

func (m *Mesh) fuzzOne(i int, b byte, h core.PeerHint) {
	who := identity(int(b>>4) % 4)
	if b&0x08 != 0 {
		who = original(int(b>>4) % 4)
	}
	at := addr(int(b) % 4)
	switch b % 11 {
	case 0:
		m.Caller(who.Key, core.Endpoint{Host: h.IP, Port: h.Port}, at)
		return
	case 1:
		m.Goodbye(who.Key)
		return
	case 2:
		_ = m.Forget(who.ID)
		return
	}
	who.FQDN = h.FQDN
	j := core.Job{Identifies: true, Due: time.Now(), Trigger: core.Trigger(i % 3), Target: core.Target{Endpoint: at}}
	if ns := m.Nodes(); len(ns) > 0 && b&1 == 0 {
		n := ns[int(b)%len(ns)]
		j.Target = core.Target{Node: n.ID, Endpoint: n.Endpoints[0], Key: n.Key}
	}
	r := core.Result{Job: j, Outcome: core.Outcome(b%3 + 1), Learned: &core.Learned{Identity: &who, Peers: []core.PeerHint{h}}}
	if b%7 == 0 {
		r.Reason = core.ReasonIdentity
	}
	m.Observe(r)
}
