package path

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"time"
)

const (
	// locateMore is how many packets of each size a hop is sent beside the first ones, if
	// it may be behind the hole: with them six, what a Linux router answers at once.
	// locateNeeds is how many of the small ones must get there for the fate of the large
	// ones to mean anything.
	locateMore  = 2
	locateNeeds = 2
	// locateSilent is after how many silent hops in a row nothing is expected.
	locateSilent = 4
	locateHops   = 30
	// locateWindow is how many hops are asked at once when the distance is not known.
	locateWindow = 8
	// locateLinger is how long the large packets are waited for when the small ones,
	// sent after them, have come.
	locateLinger = 30 * time.Millisecond
	locateFor    = 6 * time.Second
	// locateAgain is when a hop that was silent may be asked again, as routers answer
	// once a second after six times; locateTries bounds that.
	locateAgain = 10 * time.Second
	locateTries = 4
)

// locator names the two hops between which packets above mtu vanish; empty when it
// cannot. near tells that one is the next hop of the other.
type locator func(ctx context.Context, x *exchange, mtu int) (by string, near bool)

// hopSight is what became of packets that were to end at one hop.
type hopSight struct {
	ttl            int
	larges, smalls int        // that got there
	router         netip.Addr // not valid when it is silent
	end            bool       // it is the end of the way
}

func (h *hopSight) see(s *shot, large bool) {
	if !s.reached() {
		return
	}
	if large {
		h.larges++
	} else {
		h.smalls++
	}
	h.end = h.end || s.answered
	if s.hop.IsValid() {
		h.router = s.hop
	}
}

// locateUDP walks the way to the reflector with a packet that is a byte too large and
// a small one for each hop, all at once. Where the small one gets an answer and the
// large one does not, the link before is the hole: if they do so again.
func locateUDP(ctx context.Context, x *exchange, mtu int) (by string, near bool) {
	ctx, cancel := context.WithTimeout(ctx, locateFor)
	defer cancel()
	before, reached := "this host", 0
	for first, n := 1, x.windowOfHops(); first <= min(locateHops, reached+locateSilent+1); first, n = first+n, locateWindow {
		hops := make([]hopSight, n)
		for i := range hops {
			hops[i].ttl = first + i
		}
		if x.sight(ctx, hops, mtu+1, 1) != nil {
			return "", false
		}
		for i := range hops {
			if h := &hops[i]; h.larges > 0 {
				before, reached = h.name(x), h.ttl
			}
		}
		for i := max(reached+1-first, 0); i < n; i++ {
			h := &hops[i]
			if h.smalls == 0 {
				continue // limited, or a router that never tells
			}
			if h.end && reached == 0 && h.ttl > 1 {
				return "", false // nobody on the way tells anything
			}
			if x.sight(ctx, hops[i:i+1], mtu+1, locateMore) != nil {
				return "", false
			}
			switch {
			case h.larges > 0:
				before, reached = h.name(x), h.ttl
			case h.smalls >= locateNeeds:
				return before + " and " + h.name(x), reached == h.ttl-1
			default:
				return "", false // it answers no more: later, not farther on
			}
		}
	}
	return "", false
}

func (h *hopSight) name(x *exchange) string {
	if h.router.IsValid() {
		return h.router.String()
	}
	return x.sock.remote().String()
}

// windowOfHops is how many hops to ask at once: as many as there are, if the reflector
// has told with which TTL packets come.
func (x *exchange) windowOfHops() int {
	if x.distance < 1 || x.distance > locateHops {
		return locateWindow
	}
	return x.distance
}

// sight sends each hop n packets of both sizes, the large ones first: if the router
// has but some answers left, these get them.
func (x *exchange) sight(ctx context.Context, hops []hopSight, size, n int) error {
	x.round++
	var larges, smalls []*shot
	for i := range hops {
		for range n {
			larges = append(larges, &shot{forward: size, ttl: hops[i].ttl})
			smalls = append(smalls, &shot{ttl: hops[i].ttl})
		}
		for _, s := range slices.Concat(larges[i*n:], smalls[i*n:]) {
			if err := x.send(s); err != nil && !tooBigHere(err) {
				return err
			}
		}
	}
	for end, shortened := time.Now().Add(x.wait()), false; ; {
		if allReached(smalls) && !shortened {
			shortened = true
			if soon := time.Now().Add(locateLinger + x.longest); soon.Before(end) {
				end = soon
			}
		}
		if shortened && allReached(larges) {
			break
		}
		if err := x.take(ctx, end); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			return err
		}
	}
	for i := range larges {
		hops[i/n].see(larges[i], true)
		hops[i/n].see(smalls[i], false)
	}
	return nil
}

func allReached(shots []*shot) bool {
	for _, s := range shots {
		if !s.reached() {
			return false
		}
	}
	return true
}

// reached tells that a packet with a TTL got to its hop, or the end.
func (s *shot) reached() bool { return s.answered || s.hop.IsValid() }
