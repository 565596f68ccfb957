package path

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// newTestPMTU is a prober whose targets all have the reflector r.
func newTestPMTU(t testing.TB, r *reflector) *pmtuProber {
	t.Helper()
	p := newPMTU(PMTUConfig{TCP: true}, sdk.Env{})
	p.caller = testCaller
	p.reflector = func(sdk.Target) (reflectorAt, bool) {
		if r == nil {
			return reflectorAt{}, false
		}
		return reflectorAt{r.port(), testKey}, true
	}
	return p
}

func TestPMTUOfLoopback(t *testing.T) {
	r := startTestReflector(t)
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			newAsker(t, r, ip) // skips without that family
			p := newTestPMTU(t, r)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			for _, run := range []string{"first", "second"} {
				got, err := p.Probe(ctx, sdk.Target{Host: ip})
				if err != nil {
					t.Fatal(err)
				}
				a := got.Attributes
				if a["pmtu_forward_kind"] != "at_local_max" || a["pmtu_backward_kind"] != "at_local_max" || (got.RTT > 0) != (run == "first") ||
					metric(got, "pmtu_forward_bytes") != 65535 || metric(got, "pmtu_backward_bytes") != 65535 {
					t.Errorf("%s run: got %+v", run, got)
				}
				if n := metric(got, "pmtu_probe_packets"); n > 8 || (n > 0) != (run == "first") {
					t.Errorf("%s run: got %v packets, want at most 4 a direction of a search, none told else", run, n)
				}
			}
		})
	}
}

// A server that takes what comes, as one that waits for the end of a ClientHello.
func sink(t testing.TB) (port uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 65536)
			for {
				if _, err := c.Read(buf); err != nil {
					break
				}
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func TestPMTUWithoutReflector(t *testing.T) {
	p := newTestPMTU(t, nil)
	target := sdk.Target{Host: "127.0.0.1", PeerPort: sink(t)}
	for _, run := range []string{"first", "second"} {
		got, err := p.Probe(context.Background(), target)
		if err != nil {
			t.Fatal(err)
		}
		// Larger segments than those of jumbo frames are not tried.
		if a := got.Attributes; a["pmtu_forward_kind"] != "at_least" || a["pmtu_forward_how"] != "tcp-segments" ||
			a["pmtu_backward_kind"] != "unknown" || metric(got, "pmtu_forward_at_least_bytes") != 9000 {
			t.Errorf("%s run: got %+v", run, got)
		}
	}
}

// Over TCP, too, the way back is verified with every run: if there are not too many.
func TestPMTUVerifiesBackOverTCP(t *testing.T) {
	p := newTestPMTU(t, nil)
	road, hauls := fakeRoad{1500, 1500, 1500, 0}, 0
	p.climb = func(_ context.Context, _ netip.AddrPort, sizes []int) (climb, error) {
		return climb{passed: sizes[len(sizes)-1], limit: 1500, pmtu: 1500}, nil
	}
	p.haul = func(ctx context.Context, to netip.AddrPort, size int) (haul, error) {
		hauls++
		return road.haul(ctx, to, size)
	}
	freeze(p.nics)
	back := func(target sdk.Target) pmtu {
		t.Helper()
		target.Host = "127.0.0.1"
		got, err := p.Probe(context.Background(), target)
		if err != nil {
			t.Fatal(err)
		}
		_, b := told(got)
		return b
	}
	if b := back(sdk.Target{}); b.mtu != 1500 || hauls != 1 {
		t.Fatalf("got %+v after %d connections", b, hauls)
	}
	road.peer = 1400 // its kernel knows better now
	if b := back(sdk.Target{}); b.mtu != 1400 {
		t.Errorf("got %+v at the next run", b)
	}
	p.hauls.SetBurst(0)
	for _, b := range p.beliefs {
		b.limit.SetBurst(10)
	}
	road.peer = 1300
	if b := back(sdk.Target{}); b.mtu != 1400 {
		t.Errorf("got %+v though there are too many", b)
	}
	if b := back(sdk.Target{Occasion: sdk.OccasionHint}); b.mtu != 1300 {
		t.Errorf("got %+v at a hint", b)
	}
}

// A way there of which nothing is known is no way that holds.
func TestPMTUWithoutWayThereOverTCP(t *testing.T) {
	p, climbs := newTestPMTU(t, nil), 0
	road := fakeRoad{1500, 1500, 1500, 0}
	p.haul = road.haul
	p.climb = func(_ context.Context, _ netip.AddrPort, sizes []int) (climb, error) {
		climbs++
		if len(sizes) == 1 && sizes[0] == 0 {
			t.Error("got a climb of nothing")
		}
		return climb{limit: 1500, pmtu: 1500, stalled: sizes[0]}, nil
	}
	freeze(p.nics)
	probe := func() (forward, back pmtu) {
		t.Helper()
		got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		return told(got)
	}
	probe()
	first := climbs
	if f, b := probe(); f.kind != kindUnknown || b.mtu != 1500 || climbs != first {
		t.Errorf("got %+v and %+v", f, b)
	}
	for _, b := range p.beliefs {
		b.toppedAt = time.Now().Add(-searchEvery)
	}
	if probe(); climbs == first {
		t.Error("got no other search a minute later")
	}
}

func TestPMTUOfNobody(t *testing.T) {
	p := newTestPMTU(t, nil)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(gone.Addr().(*net.TCPAddr).Port)
	gone.Close()
	_, err = p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1", Port: port})
	if _, reason := sdk.Judge(err); reason != sdk.ReasonRefused {
		t.Errorf("got %v, want refused", err)
	}
	// A reflector that has gone: the kernel says so, and TCP is refused too.
	r := startTestReflector(t)
	p = newTestPMTU(t, r)
	p.reflector = func(sdk.Target) (reflectorAt, bool) { return reflectorAt{port, testKey}, true }
	_, err = p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1", Port: port})
	if _, reason := sdk.Judge(err); reason != sdk.ReasonRefused {
		t.Errorf("got %v, want refused", err)
	}
}

func TestPMTUWithWrongKeyIsSilent(t *testing.T) {
	r := startTestReflector(t)
	p := newTestPMTU(t, r)
	p.c.TCP = false
	p.caller = callerID{9}
	_, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1"})
	if _, reason := sdk.Judge(err); reason != sdk.ReasonTimeout {
		t.Errorf("got %v, want a timeout", err)
	}
	if n := r.counts.wrongKey.Load(); n == 0 {
		t.Error("got no packet counted as one with a wrong key")
	}
}
