package path

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// A ladder finds the MTU of the way there with segments of TCP of exact sizes, each
// larger than the last, where UDP does not pass. What the peer's kernel acknowledges
// came through whole; what it does not has been sent again by then, more than once.
//
// The segments are the beginning of a TLS ClientHello that never ends: every TLS
// server takes them in, nothing else need fit through the hole before, neither a
// certificate nor a request, and no record's overhead has to be reckoned with.
const (
	// ladderStall is how long an acknowledgement may take beside RTTs: the kernel has
	// sent the segment three times by then (at once, as tail loss probe, and when the
	// least RTO of 200 ms is over).
	ladderStall = 350 * time.Millisecond
	// ladderConfirms is on how many connections the smallest size that fails is sent
	// again, and ladderNeeds on how many it must fail: nine packets lost by chance, beside
	// those before. Others may not get that far.
	ladderConfirms = 4
	ladderNeeds    = 3
	// connectTime is for a SYN that is lost once.
	connectTime = 1200 * time.Millisecond
	// ladderBytes is what a connection may carry: more is no ClientHello.
	ladderBytes = 60_000
	// ladderRounds bounds the connections: three are enough without bad luck.
	ladderRounds = 10
	// ladderParts of what is left are tried at once: segments are cheap, rounds are not.
	ladderParts = 17
	// ladderTop is the largest size that is tried.
	ladderTop = 9000
)

// climb is what one connection saw.
type climb struct {
	passed  int  // the largest size acknowledged; 0 is none
	stalled int  // the size that was not; 0 is none
	limit   int  // the largest segment that the connection sends, as a packet
	pmtu    int  // what the kernel believes of the path in the end
	lowered bool // it came to believe so meanwhile: a router has just told it
	rtt     time.Duration
	bytes   int
	packets int
}

// climber makes one connection and sends these sizes, in rising order, that are not
// above the limit of the connection.
type climber func(ctx context.Context, to netip.AddrPort, sizes []int) (climb, error)

// ladder is the state of a search with connections.
type ladder struct {
	top    int // the interface's MTU
	small  int
	lo, hi int // the largest that passed, the smallest that stalled; hi 0 is none
	limit  int // that of the last connection
	pmtu   int
	told   bool // a router told the kernel
	rtt    time.Duration
	packets,
	bytes int
}

// climbLadder finds out what it can about the way to a TLS server. The error is that
// there is none.
func climbLadder(ctx context.Context, climb climber, to netip.AddrPort, small, top int) (*ladder, pmtu, error) {
	l := &ladder{top: top, small: small}
	sure := false
	for range ladderRounds {
		sizes := l.sizes()
		if len(sizes) == 0 {
			if l.hi != l.lo+1 {
				break
			}
			if sure = l.confirm(ctx, climb, to); sure || l.hi > 0 {
				break
			}
			continue // what failed has passed
		}
		c, err := climb(ctx, to, sizes)
		if err != nil {
			return l, pmtu{kind: kindUnknown, blackHole: holesUnknown}, err
		}
		if !l.learn(c) {
			break
		}
	}
	return l, l.result(sure), nil
}

// sizes of the next connection, in rising order; none when nothing is left to ask.
func (l *ladder) sizes() []int {
	top := min(l.top, ladderTop)
	if l.limit > 0 {
		top = min(top, l.limit)
	}
	var list []int
	switch {
	case l.limit == 0:
		for _, size := range likely {
			if size >= 576 && size < top {
				list = append(list, size)
			}
		}
		list = append(list, top)
	case l.lo == 0 && l.hi > 0 || l.hi > l.lo+1:
		low := max(l.lo, l.small)
		parts := min(ladderParts, l.hi-low)
		for i := 1; i < parts; i++ {
			list = append(list, low+(l.hi-low)*i/parts)
		}
		if l.lo == 0 && !slices.Contains(list, low) {
			list = append([]int{low}, list...)
		}
	case l.hi == 0 && l.lo < top:
		list = []int{top}
	}
	return list
}

// learn takes up what a connection saw, and tells whether another may see more.
func (l *ladder) learn(c climb) bool {
	before := *l
	l.lo = max(l.lo, c.passed)
	if c.stalled > 0 && (l.hi == 0 || c.stalled < l.hi) {
		l.hi = c.stalled
	}
	if l.hi <= l.lo {
		l.hi = 0 // that was bad luck
	}
	l.limit, l.pmtu = c.limit, c.pmtu
	if l.rtt == 0 || c.rtt > 0 && c.rtt < l.rtt {
		l.rtt = c.rtt
	}
	l.told = l.told || c.lowered
	l.packets, l.bytes = l.packets+c.packets, l.bytes+c.bytes
	return before.lo != l.lo || before.hi != l.hi || before.limit != l.limit || before.told != l.told
}

// confirm sends the size that passes and the next that does not on several
// connections at once.
func (l *ladder) confirm(ctx context.Context, up climber, to netip.AddrPort) bool {
	type outcome struct {
		climb
		err error
	}
	var (
		results [ladderConfirms]outcome
		wg      sdk.Group
		lo, hi  = l.lo, l.hi
		agree   = 0
	)
	for i := range results {
		wg.Go(func() { results[i].climb, results[i].err = up(ctx, to, []int{lo, hi}) })
	}
	wg.Wait()
	for _, r := range results {
		l.packets, l.bytes = l.packets+r.packets, l.bytes+r.bytes
		switch {
		case r.err != nil: // it did not come so far
		case r.passed > lo:
			l.lo, l.hi = r.passed, 0
		case r.passed == lo && r.stalled == hi:
			agree++
		}
	}
	return l.hi > 0 && agree >= ladderNeeds
}

// result says what is known. TCP sends no more than the other end and the kernel's
// memory of the path allow, and both may be wrong, as may a router that has just told
// the kernel: only what was seen to fail makes an MTU exact.
func (l *ladder) result(sure bool) pmtu {
	p := pmtu{mtu: l.lo, kind: kindAtLeast, how: howTCPSegments, blackHole: holesUnknown}
	switch {
	case l.lo == 0:
		p.kind, p.how = kindUnknown, ""
	case l.lo >= l.top:
		p.kind, p.blackHole = kindAtLocalMax, holesNo
	case sure:
		p.kind, p.blackHole = kindExact, holesYes
	case l.told && l.lo == l.pmtu && l.hi == 0:
		p.blackHole = holesNo
	case l.lo == l.limit && l.limit < l.pmtu:
		p.how = howMSSClamp
	}
	return p
}
