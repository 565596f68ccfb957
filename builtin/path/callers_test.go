package path

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

var testAddr = netip.MustParseAddrPort("192.0.2.1:1000")

func TestWindow(t *testing.T) {
	var w window
	for _, c := range []struct {
		n    uint32
		want bool
	}{
		{5, true},
		{5, false},
		{4, true},
		{4, false},
		{0, true},
		{70, true},
		{6, false}, // 64 behind
		{7, true},
		{7, false},
		{1 << 31, true},
		{70, false},
		{1<<31 - 63, true},
	} {
		if got := w.add(c.n); got != c.want {
			t.Errorf("got %v for %d, want %v", got, c.n, c.want)
		}
	}
}

func TestCallersBoundsRate(t *testing.T) {
	c, now := newCallers(), time.Unix(1000, 0)
	r := request{ssid: 1, caller: testCaller}
	answered := 0
	for range 1000 {
		r.seq++
		if _, refused := c.admit(&r, testAddr, 100, now); refused == admitted {
			answered++
		}
	}
	if answered != callerPacketsBurst {
		t.Errorf("got %d answers at once, want %d", answered, callerPacketsBurst)
	}
	r.seq++
	a, refused := c.admit(&r, testAddr, 100, now.Add(time.Second))
	if refused != admitted || a.limited != 600 || a.seq != callerPacketsBurst {
		t.Errorf("got %+v, %v a second later, want the count of 600 refused", a, refused)
	}
	other := request{caller: callerID{7}}
	if _, refused := c.admit(&other, testAddr, 100, now); refused != admitted {
		t.Error("got one caller refused for another's sake")
	}
	bytes := 0
	for r.caller = (callerID{8}); bytes < 100<<20; bytes += 9000 {
		r.seq++
		if _, refused := c.admit(&r, testAddr, 9000, now); refused != admitted {
			break
		}
	}
	if bytes > callerBytesBurst {
		t.Errorf("got %d bytes at once, want at most %d", bytes, callerBytesBurst)
	}
}

func TestCallersIsBounded(t *testing.T) {
	c, now := newCallers(), time.Unix(1000, 0)
	for i := range uint32(2 * maxCallers) {
		r := request{seq: i}
		binary.BigEndian.PutUint32(r.caller[:], i)
		for s := range uint16(3) {
			r.ssid = s
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, i))), s)
			c.admit(&r, from, 100, now)
		}
	}
	for s := range uint16(1000) {
		r := request{ssid: s}
		c.admit(&r, netip.AddrPortFrom(testAddr.Addr(), s), 100, now)
	}
	if n := len(c.byID); n > maxCallers || c.order.Len() != n {
		t.Errorf("got %d callers, want at most %d", n, maxCallers)
	}
	total := 0
	for _, who := range c.byID {
		total += len(who.sessions)
		if len(who.sessions) > maxSessions {
			t.Fatalf("got %d sessions of one caller", len(who.sessions))
		}
	}
	if len(c.byAddr) > total {
		t.Errorf("got %d addresses of %d sessions", len(c.byAddr), total)
	}
}

func TestCallersKeepsReports(t *testing.T) {
	c, now := newCallers(), time.Unix(1000, 0)
	r := request{ssid: 1, caller: testCaller}
	c.admit(&r, testAddr, 100, now)
	ptb := report{mtu: 1400, seq: 0, quotes: true}
	for name, ok := range map[string]bool{
		"another session": c.learn(testAddr, ptb, 2, now),
		"another address": c.learn(netip.MustParseAddrPort("192.0.2.1:1001"), ptb, 1, now),
		"not sent yet":    c.learn(testAddr, report{mtu: 1400, seq: 9, quotes: true}, 1, now),
	} {
		if ok {
			t.Errorf("got the error about %s kept", name)
		}
	}
	for i := range 2 * maxReports {
		if !c.learn(testAddr, report{mtu: 1400 + i}, 0, now) {
			t.Fatal("got a short quote refused")
		}
	}
	r.seq++
	a, _ := c.admit(&r, testAddr, 100, now)
	if len(a.reports) != maxReports || a.reports[maxReports-1].mtu != 1400+2*maxReports-1 {
		t.Errorf("got %+v, want the last %d", a.reports, maxReports)
	}
	r.seq++
	if a, _ := c.admit(&r, testAddr, 100, now.Add(reportAge)); len(a.reports) != 0 {
		t.Errorf("got %+v later, want none", a.reports)
	}
}

func TestStrangersHaveTheirOwnRate(t *testing.T) {
	c, now := newCallers(), time.Unix(1000, 0)
	r := request{caller: testCaller}
	var answered, again int
	for i := range uint32(1000) {
		tag := [tagSize]byte(binary.BigEndian.AppendUint32(make([]byte, tagSize-4), i))
		if c.admitStranger(&r, tag, testAddr, now) == admitted {
			answered++
		}
		if c.admitStranger(&r, tag, testAddr, now.Add(cookieEpoch)) == refusedReplay {
			again++
		}
	}
	if answered != doorPacketsBurst || again != 1000 {
		t.Errorf("got %d answers at once and %d replays known, want %d and 1000", answered, again, doorPacketsBurst)
	}
	if len(c.byID) != 0 || len(c.byAddr) != 0 {
		t.Error("got a caller remembered without a cookie")
	}
	for i := range uint32(4 * maxHeard) {
		c.admitStranger(&r, [tagSize]byte(binary.BigEndian.AppendUint32(make([]byte, tagSize-4), i<<8)), testAddr, now)
	}
	if len(c.heard[0])+len(c.heard[1]) > 2*maxHeard {
		t.Errorf("got %d tags kept", len(c.heard[0]))
	}
}
