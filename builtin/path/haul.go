package path

import (
	"context"
	"net/netip"
	"slices"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// The way back over TCP is searched with what a web server sends anyway: its page,
// over one connection for each size, which tells the server by its MSS how large
// segments may be. The server's kernel decides whether it fills them, so what came is
// looked at: only a whole segment of that size proves anything.

const (
	// haulsAtOnce is how many connections are made at once; a node allows 32.
	haulsAtOnce = 12
	haulRounds  = 8
	// haulWorst is the smallest size that is tried: TLS needs some room.
	haulWorst = 576
)

// haul is what one connection saw.
type haul struct {
	asked   int  // the largest packet that the server may send; less than wanted where the kernel remembers less
	full    int  // the largest that came
	whole   bool // the page came to its end; else it got stuck
	told    int  // what a router told the server meanwhile; 0 is nothing, as far as is known
	packets int
	bytes   int
}

// hauler makes one connection on which the server may send packets of up to size,
// and fetches the page. The error is any but that it got stuck.
type hauler func(ctx context.Context, to netip.AddrPort, size int) (haul, error)

// haulage is the state of a search of the way back.
type haulage struct {
	haul hauler
	to   netip.AddrPort
	top  int

	lo, hi  int  // the largest that came, the smallest that got stuck; hi 0 is none
	short   bool // a page came whole in smaller segments than it might have had
	told    int  // their size is what a router has just told the server
	packets int
	bytes   int
}

// search finds out what it can.
func (h *haulage) search(ctx context.Context) pmtu {
	unknown := pmtu{kind: kindUnknown, blackHole: holesUnknown}
	sure := false
	for range haulRounds {
		sizes := h.sizes()
		if len(sizes) == 0 {
			if h.hi != h.lo+1 {
				break
			}
			if sure = h.confirm(ctx); sure || h.hi > 0 {
				break
			}
			continue // what got stuck has come
		}
		lo, hi := h.lo, h.hi
		if h.fetch(ctx, sizes) == 0 {
			return unknown
		}
		if lo == h.lo && hi == h.hi {
			break
		}
	}
	p := pmtu{mtu: h.lo, kind: kindAtLeast, how: howTCPSegments, blackHole: holesUnknown}
	switch {
	case h.lo == 0:
		return unknown
	case h.lo >= h.top:
		p.kind, p.blackHole = kindAtLocalMax, holesNo
	case sure:
		p.kind, p.blackHole = kindExact, holesYes
	case h.told == h.lo && h.hi == 0:
		p.blackHole = holesNo // but how much passes is the word of a router
	}
	return p
}

// sizes of the next connections.
func (h *haulage) sizes() []int {
	switch {
	case h.hi == 0 && h.lo < h.top && !h.short:
		return []int{h.top}
	case h.hi == 0 || h.hi <= h.lo+1:
		return nil
	}
	var list []int
	for _, size := range likely {
		if size > h.lo && size < h.hi && size >= haulWorst {
			list = append(list, size)
		}
	}
	if len(list) > haulsAtOnce {
		list = list[len(list)-haulsAtOnce:]
	}
	if len(list) > 0 && h.lo == 0 {
		return list
	}
	list = nil
	low := max(h.lo, haulWorst-1)
	parts := min(ladderParts, h.hi-low)
	for i := 1; i < parts; i++ {
		list = append(list, low+(h.hi-low)*i/parts)
	}
	if h.lo > 0 {
		list[0] = h.lo + 1 // a likely size that came is the likely answer
	}
	return list
}

// fetch makes connections for these sizes, and tells how many there were.
func (h *haulage) fetch(ctx context.Context, sizes []int) (good int) {
	for _, r := range h.all(ctx, sizes) {
		if r.err != nil {
			continue
		}
		good++
		switch {
		case r.whole:
			h.lo = max(h.lo, r.full)
			h.short = h.short || r.full < r.asked
			if r.told == r.full {
				h.told = r.told
			}
		case h.hi == 0 || r.asked < h.hi:
			h.hi = r.asked
		}
	}
	if h.hi > 0 && h.hi <= h.lo {
		h.hi = 0 // bad luck; the rest of the answers say what is between
	}
	return good
}

type hauled struct {
	haul
	err error
}

func (h *haulage) all(ctx context.Context, sizes []int) []hauled {
	list := make([]hauled, len(sizes))
	var wg sdk.Group
	for i, size := range sizes {
		wg.Go(func() { list[i].haul, list[i].err = h.haul(ctx, h.to, size) })
	}
	wg.Wait()
	for _, r := range list {
		h.packets, h.bytes = h.packets+r.packets, h.bytes+r.bytes
	}
	return list
}

// confirm fetches pages again with the size that comes and the next, that does not.
func (h *haulage) confirm(ctx context.Context) bool {
	came, stuck := 0, 0
	for _, r := range h.all(ctx, slices.Repeat([]int{h.lo, h.hi}, ladderConfirms)) {
		switch {
		case r.err != nil: // it did not come so far
		case r.whole && r.full > h.lo:
			h.lo, h.hi = r.full, 0
		case r.whole && r.full == h.lo:
			came++
		case !r.whole && r.asked == h.hi:
			stuck++
		}
	}
	return h.hi > 0 && came >= ladderNeeds-1 && stuck >= ladderNeeds
}
