package path

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
)

// fakeRoad is the way back of a server that sends pages of that size.
type fakeRoad struct {
	mtu  int
	own  int // the largest that this host asks for, by its memory of the path
	peer int // the largest that the server sends
	told int // to the server by a router
}

func (r fakeRoad) haul(_ context.Context, _ netip.AddrPort, size int) (haul, error) {
	h := haul{asked: min(size, r.own), told: r.told, packets: 4}
	full := min(h.asked, r.peer)
	if full <= r.mtu {
		h.full, h.whole = full, true
	}
	return h, nil
}

func TestHaulage(t *testing.T) {
	for _, c := range []struct {
		name string
		road fakeRoad
		top  int
		want pmtu
	}{
		{"whole", fakeRoad{1500, 1500, 1500, 0}, 1500, pmtu{1500, kindAtLocalMax, howTCPSegments, holesNo, ""}},
		{"hole", fakeRoad{1300, 1500, 1500, 0}, 1500, pmtu{1300, kindExact, howTCPSegments, holesYes, ""}},
		{"odd hole", fakeRoad{1291, 1500, 1500, 0}, 1500, pmtu{1291, kindExact, howTCPSegments, holesYes, ""}},
		{"low hole", fakeRoad{700, 1500, 1500, 0}, 1500, pmtu{700, kindExact, howTCPSegments, holesYes, ""}},
		{"jumbo hole", fakeRoad{1500, 9000, 9000, 0}, 9000, pmtu{1500, kindExact, howTCPSegments, holesYes, ""}},
		{"short pages", fakeRoad{9000, 9000, 4143, 0}, 9000, pmtu{4143, kindAtLeast, howTCPSegments, holesUnknown, ""}},
		{"peer remembers", fakeRoad{1500, 1500, 1300, 0}, 1500, pmtu{1300, kindAtLeast, howTCPSegments, holesUnknown, ""}},
		{"peer is told", fakeRoad{1500, 1500, 1300, 1300}, 1500, pmtu{1300, kindAtLeast, howTCPSegments, holesNo, ""}},
		{"peer is told something else", fakeRoad{1500, 1500, 1300, 1400}, 1500, pmtu{1300, kindAtLeast, howTCPSegments, holesUnknown, ""}},
		{"this host remembers", fakeRoad{1500, 1400, 1500, 0}, 1500, pmtu{1400, kindAtLeast, howTCPSegments, holesUnknown, ""}},
		{"nothing comes", fakeRoad{100, 1500, 1500, 0}, 1500, pmtu{kind: kindUnknown, blackHole: holesUnknown}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := haulage{haul: c.road.haul, top: c.top}
			if got := h.search(context.Background()); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// A page that gets stuck by chance makes nothing exact.
func TestHaulageConfirms(t *testing.T) {
	var n atomic.Int32
	road := fakeRoad{1500, 1500, 1500, 0}
	h := haulage{top: 1500, haul: func(ctx context.Context, to netip.AddrPort, size int) (haul, error) {
		if n.Add(1) < 32 && size > 1400 {
			return haul{asked: size}, nil
		}
		return road.haul(ctx, to, size)
	}}
	if got := h.search(context.Background()); got.kind == kindExact {
		t.Errorf("got %+v", got)
	}
	refused := haulage{top: 1500, haul: func(context.Context, netip.AddrPort, int) (haul, error) { return haul{}, errors.New("refused") }}
	if got := refused.search(context.Background()); got.kind != kindUnknown {
		t.Errorf("got %+v without a server", got)
	}
}
