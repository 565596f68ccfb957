package path

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// fakeWall is a path for TCP.
type fakeWall struct {
	mtu    int
	kernel int  // what the kernel believes at first
	peer   int  // the largest segment that the peer or a router allows, as a packet
	icmp   bool // routers tell
	says   int  // an MTU that is not true; 0 is the true one

	mu    sync.Mutex // guards below
	conns int
	// unlucky is the connections whose last segment that passes is lost for good.
	unlucky map[int]bool
}

func (w *fakeWall) climb(_ context.Context, _ netip.AddrPort, sizes []int) (climb, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns++
	c := climb{limit: min(w.kernel, w.peer), pmtu: w.kernel, packets: len(sizes)}
	for _, size := range sizes {
		switch {
		case size > c.limit:
		case size <= w.mtu && c.stalled == 0:
			if w.unlucky[w.conns] {
				c.stalled = size
				continue
			}
			c.passed = size
		case size > w.mtu && w.icmp:
			w.kernel = w.mtu
			if w.says > 0 {
				w.kernel = w.says
			}
			c.passed = min(c.passed, w.kernel) // more was sent again in pieces
			c.pmtu, c.lowered, c.limit = w.kernel, true, min(w.kernel, w.peer)
			return c, nil
		case c.stalled == 0:
			c.stalled = size
		}
	}
	return c, nil
}

func TestLadder(t *testing.T) {
	for _, c := range []struct {
		name string
		wall *fakeWall
		top  int
		want pmtu
	}{
		{"whole", &fakeWall{mtu: 1500, kernel: 1500, peer: 1500}, 1500, pmtu{1500, kindAtLocalMax, howTCPSegments, holesNo, ""}},
		{"hole", &fakeWall{mtu: 1400, kernel: 1500, peer: 1500}, 1500, pmtu{1400, kindExact, howTCPSegments, holesYes, ""}},
		{"odd hole", &fakeWall{mtu: 1437, kernel: 1500, peer: 1500}, 1500, pmtu{1437, kindExact, howTCPSegments, holesYes, ""}},
		{"low hole", &fakeWall{mtu: 401, kernel: 1500, peer: 1500}, 1500, pmtu{401, kindExact, howTCPSegments, holesYes, ""}},
		{"jumbo hole", &fakeWall{mtu: 1500, kernel: 9000, peer: 9000}, 9000, pmtu{1500, kindExact, howTCPSegments, holesYes, ""}},
		{"told", &fakeWall{mtu: 1400, kernel: 1500, peer: 1500, icmp: true}, 1500, pmtu{1400, kindAtLeast, howTCPSegments, holesNo, ""}},
		// Trap: a router's word is a claim.
		{"told too little", &fakeWall{mtu: 1400, kernel: 1500, peer: 1500, icmp: true, says: 1300}, 1500, pmtu{1300, kindAtLeast, howTCPSegments, holesNo, ""}},
		// Trap: the kernel remembers what may be long over.
		{"stale", &fakeWall{mtu: 1500, kernel: 1400, peer: 1500, icmp: true}, 1500, pmtu{1400, kindAtLeast, howTCPSegments, holesUnknown, ""}},
		// Trap: the limit of TCP hides what is above, a hole too.
		{"clamped", &fakeWall{mtu: 1400, kernel: 1500, peer: 1300}, 1500, pmtu{1300, kindAtLeast, howMSSClamp, holesUnknown, ""}},
		{"clamped above a hole", &fakeWall{mtu: 1400, kernel: 1500, peer: 1460}, 1500, pmtu{1400, kindExact, howTCPSegments, holesYes, ""}},
		{"larger than is tried", &fakeWall{mtu: 65535, kernel: 65535, peer: 65535}, 65535, pmtu{9000, kindAtLeast, howTCPSegments, holesUnknown, ""}},
		{"bad luck", &fakeWall{mtu: 1500, kernel: 1500, peer: 1500, unlucky: map[int]bool{2: true}}, 1500, pmtu{1500, kindAtLocalMax, howTCPSegments, holesNo, ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, got, err := climbLadder(context.Background(), c.wall.climb, netip.AddrPort{}, 148, c.top)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
			if c.wall.conns > ladderRounds+2*ladderConfirms {
				t.Errorf("got %d connections for %+v", c.wall.conns, l)
			}
		})
	}
}

// A size that stalls once is no MTU.
func TestLadderConfirms(t *testing.T) {
	w := fakeWall{mtu: 1500, kernel: 1500, peer: 1500}
	var calls atomic.Int32
	once := func(ctx context.Context, to netip.AddrPort, sizes []int) (climb, error) {
		if calls.Add(1) > 3 {
			return w.climb(ctx, to, sizes)
		}
		c := climb{limit: 1500, pmtu: 1500}
		for _, size := range sizes {
			if size > 1400 {
				c.stalled = size
				break
			}
			c.passed = size
		}
		return c, nil
	}
	if _, got, _ := climbLadder(context.Background(), once, netip.AddrPort{}, 148, 1500); got.kind == kindExact {
		t.Errorf("got %+v, want nothing exact", got)
	}
}

func TestLadderWithoutServer(t *testing.T) {
	want := errors.New("refused")
	nobody := func(context.Context, netip.AddrPort, []int) (climb, error) { return climb{}, want }
	if _, got, err := climbLadder(context.Background(), nobody, netip.AddrPort{}, 148, 1500); !errors.Is(err, want) || got.kind != kindUnknown {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestLadderAsksInRisingOrder(t *testing.T) {
	for _, l := range []ladder{
		{top: 1500, small: 148},
		{top: 9000, small: 148},
		{top: 1500, small: 148, limit: 1500, lo: 1400, hi: 1420},
		{top: 1500, small: 148, limit: 1500, hi: 576},
		{top: 1500, small: 148, limit: 1500, lo: 1400, hi: 1402},
	} {
		if got := l.sizes(); len(got) == 0 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Errorf("%+v: got %v", l, got)
		}
	}
}

// Whatever routers, peers and memories say, what TCP calls exact is.
func TestTCPIsNeverWrong(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	kinds := make(map[kind]int)
	for range *paths {
		top := []int{1500, 1492, 1280, 9000}[r.IntN(4)]
		some := func() int { return []int{top, top, likely[1+r.IntN(len(likely)-1)], 576 + r.IntN(top-575)}[r.IntN(4)] }
		w := &fakeWall{mtu: some(), kernel: some(), peer: some(), icmp: r.IntN(2) == 0, says: []int{0, some()}[r.IntN(2)]}
		mtu, kernel := w.mtu, w.kernel
		_, there, err := climbLadder(t.Context(), w.climb, netip.AddrPort{}, 148, top)
		if err != nil {
			t.Fatal(err)
		}
		road := fakeRoad{mtu: mtu, own: some(), peer: kernel, told: []int{0, kernel, mtu, some()}[r.IntN(4)]}
		h := haulage{haul: road.haul, top: top}
		for _, got := range []pmtu{there, h.search(t.Context())} {
			kinds[got.kind]++
			truth := min(mtu, top)
			if got.mtu > truth || got.kind == kindExact && got.mtu != truth || got.kind == kindAtLocalMax && got.mtu != top {
				t.Errorf("seed %d: got %+v of %v, %+v, top %d", seed, got, &fakeWall{mtu: mtu, kernel: kernel, peer: w.peer, icmp: w.icmp, says: w.says}, road, top)
			}
		}
	}
	t.Log(kinds)
}
