package https

import (
	"fmt"
	"strconv"
	"sync"
)

// resentMany in one poll are a hint that something is wrong with the path: one is
// what every path loses now and then.
const resentMany = 2

// sizes are what the kernel believes of a path. They repeat its cache, which may be
// old, and say nothing of black holes: no more than hints.
type sizes struct {
	mtu, segment int
	small        bool // segments are, on purpose
}

// hints keeps the sizes of the last poll by address, on whatever connection that was.
type hints struct {
	mu     sync.Mutex // guards byAddr
	byAddr map[string]sizes
}

func newHints() *hints { return &hints{byAddr: make(map[string]sizes)} }

// swap remembers now and gives what was before; false at first.
func (h *hints) swap(addr string, now sizes) (before sizes, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known = h.byAddr[addr]
	if !known && len(h.byAddr) >= maxRemembered {
		for other := range h.byAddr {
			delete(h.byAddr, other)
			break
		}
	}
	h.byAddr[addr] = now
	return before, known
}

// hint tells other probes that the path to the peer seems to have changed.
func (r *run) hint(c *conn, facts tcpFacts) {
	if facts.mtu == 0 {
		return // not Linux
	}
	r.result.Attributes["kernel_path_mtu"] = strconv.Itoa(facts.mtu)
	again := facts.retransmits - c.resent
	c.resent = facts.retransmits
	now := sizes{mtu: facts.mtu, segment: facts.segment, small: c.small}
	before, known := r.hints.swap(r.addr, now)
	switch {
	case known && before.small != now.small:
		r.result.Hint = "large segments do not come through as they did"
		if before.small {
			r.result.Hint = "large segments come through again"
		}
	case known && before.mtu != now.mtu:
		r.result.Hint = fmt.Sprintf("the kernel takes the MTU of the path for %d, no longer for %d", now.mtu, before.mtu)
	case known && before.segment != now.segment:
		r.result.Hint = fmt.Sprintf("segments have %d bytes, no longer %d", now.segment, before.segment)
	case again >= resentMany:
		r.result.Hint = fmt.Sprintf("%d segments were sent again", again)
	}
}
