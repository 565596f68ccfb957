package path

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxCallers that are remembered; the one heard of longest ago gives way. Only
	// nodes of the mesh get that far, and a mesh is designed for 2,000.
	maxCallers = 4096
	// maxSessions of one caller: its probes have one each at a time.
	maxSessions = 16
	// sessionIdle is how long a session lasts without a packet: as long as cookies are
	// good, so that a packet recorded in it is known again while it would be answered.
	sessionIdle = 2 * cookieEpoch
	// reportAge is how long an ICMP error is told of: as often as answers are given
	// meanwhile, since any of them may be lost.
	reportAge = 5 * time.Second

	// What one caller gets: a search of jumbo frames is 100 packets and 0.5 MB, a
	// train of stamp 50 packets a second.
	callerPackets      = 200
	callerPacketsBurst = 400
	callerBytes        = 512 << 10
	callerBytesBurst   = 2 << 20

	// What those get together who show no cookie, and whose caller and address lead to
	// one of the doors: the first packets of a train, a hello, the end of a trace. Who
	// sends recorded packets from anywhere has few of the doors, the others stay open.
	doors            = 256
	doorPackets      = 50
	doorPacketsBurst = 100
	// maxHeard packets without a cookie are known again, in each of two epochs.
	maxHeard = 4096
)

// callers is what a reflector remembers of those who proved their key and, with a
// cookie, their address. Nothing in it is needed to answer; it bounds what a caller
// gets, counts, and keeps ICMP errors until they are fetched.
//
// A recorded packet that is sent again is not known by its age, since the clocks of
// two nodes need not agree. With the cookie of another address, or of a time that is
// over, it comes to none of that: it is as one without, which takes nothing from its
// caller. With a good one its session still knows the number.
type callers struct {
	seed maphash.Seed

	mu     sync.Mutex // guards all below
	byID   map[callerID]*caller
	byAddr map[netip.AddrPort]*session
	order  *list.List // of *caller, the latest in front
	doors  [doors]*rate.Limiter
	heard  [2]map[[tagSize]byte]struct{} // tags without a cookie: of this epoch and the last
	epoch  int64
}

type caller struct {
	id             callerID
	packets, bytes *rate.Limiter
	sessions       []*session // the latest last
	place          *list.Element
}

// session is one run of a probe of a caller.
type session struct {
	ssid uint16
	addr netip.AddrPort
	last time.Time
	// replies so far: the count that splits loss by direction.
	replies uint32
	limited uint32 // packets above the caller's rate
	seen    window
	reports []datedReport
}

type datedReport struct {
	report
	at time.Time
}

// admission is what admit knows of a packet that may be answered.
type admission struct {
	seq     uint32
	limited uint32
	reports []report
}

// refusal is why a packet gets no answer.
type refusal uint8

const (
	admitted refusal = iota
	refusedReplay
	refusedRate
)

func newCallers() *callers {
	return &callers{
		seed:   maphash.MakeSeed(),
		byID:   make(map[callerID]*caller),
		byAddr: make(map[netip.AddrPort]*session),
		order:  list.New(),
	}
}

// admit counts a packet with a good tag and a good cookie, to be answered with bytes.
func (c *callers) admit(r *request, from netip.AddrPort, bytes int, now time.Time) (admission, refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from = plain(from)
	who := c.callerLocked(r.caller)
	s := c.sessionLocked(who, r.ssid, from, now)
	if !s.seen.add(r.seq) {
		return admission{}, refusedReplay
	}
	if !who.packets.AllowN(now, 1) || !who.bytes.AllowN(now, bytes) {
		s.limited++
		return admission{}, refusedRate
	}
	a := admission{seq: s.replies, limited: s.limited}
	s.replies++
	for _, p := range s.reports {
		if now.Sub(p.at) < reportAge {
			a.reports = append(a.reports, p.report)
		}
	}
	return a, admitted
}

// admitStranger is admit for a packet with a good tag and no good cookie: it may be
// recorded, and from anywhere.
func (c *callers) admitStranger(r *request, tag [tagSize]byte, from netip.AddrPort, now time.Time) refusal {
	door := maphash.Comparable(c.seed, struct {
		id   callerID
		addr netip.Addr
	}{r.caller, plain(from).Addr()}) % doors
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heardLocked(tag, now) {
		return refusedReplay
	}
	if c.doors[door] == nil {
		c.doors[door] = rate.NewLimiter(doorPackets, doorPacketsBurst)
	}
	if !c.doors[door].AllowN(now, 1) {
		return refusedRate
	}
	return admitted
}

// heardLocked tells whether a packet with that tag was heard lately.
func (c *callers) heardLocked(tag [tagSize]byte, now time.Time) bool {
	if epoch := now.Unix() / int64(cookieEpoch/time.Second); epoch != c.epoch || c.heard[0] == nil {
		c.epoch, c.heard[1], c.heard[0] = epoch, c.heard[0], make(map[[tagSize]byte]struct{})
	}
	for _, known := range c.heard {
		if _, ok := known[tag]; ok {
			return true
		}
	}
	if len(c.heard[0]) < maxHeard {
		c.heard[0][tag] = struct{}{}
	}
	return false
}

func (c *callers) callerLocked(id callerID) *caller {
	if who := c.byID[id]; who != nil {
		c.order.MoveToFront(who.place)
		return who
	}
	if len(c.byID) >= maxCallers {
		old := c.order.Remove(c.order.Back()).(*caller)
		delete(c.byID, old.id)
		for _, s := range old.sessions {
			c.forgetAddrLocked(s)
		}
	}
	who := &caller{
		id:      id,
		packets: rate.NewLimiter(callerPackets, callerPacketsBurst),
		bytes:   rate.NewLimiter(callerBytes, callerBytesBurst),
	}
	who.place = c.order.PushFront(who)
	c.byID[id] = who
	return who
}

func (c *callers) sessionLocked(who *caller, ssid uint16, from netip.AddrPort, now time.Time) *session {
	kept := who.sessions[:0]
	var s *session
	for _, old := range who.sessions {
		switch {
		case now.Sub(old.last) >= sessionIdle:
			c.forgetAddrLocked(old)
		case old.ssid == ssid:
			s = old
		default:
			kept = append(kept, old)
		}
	}
	if s == nil {
		s = &session{ssid: ssid}
		if len(kept) == maxSessions {
			c.forgetAddrLocked(kept[0])
			kept = append(kept[:0], kept[1:]...)
		}
	}
	clear(who.sessions[len(kept):])
	who.sessions = append(kept, s)
	if s.addr != from {
		c.forgetAddrLocked(s)
		s.addr = from
	}
	c.byAddr[from] = s
	s.last = now
	return s
}

func (c *callers) forgetAddrLocked(s *session) {
	if c.byAddr[s.addr] == s {
		delete(c.byAddr, s.addr)
	}
}

// learn keeps an ICMP error about a reply to addr. It tells whether the error can
// be one: it must quote the session that uses that address now, or too little to say.
func (c *callers) learn(addr netip.AddrPort, p report, ssid uint16, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byAddr[plain(addr)]
	if s == nil || p.quotes && (s.ssid != ssid || p.seq > s.seen.top) {
		return false
	}
	if len(s.reports) == maxReports {
		s.reports = append(s.reports[:0], s.reports[1:]...)
	}
	s.reports = append(s.reports, datedReport{p, now})
	return true
}

// plain is a without the zone, which errors do not have.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// window is which of the last numbers of a session have been seen, as IPsec does it
// (RFC 4303 section 3.4.3).
type window struct {
	begun bool
	top   uint32
	bits  uint64 // bit i: top-i
}

// add tells whether n is new and not too old to say.
func (w *window) add(n uint32) bool {
	const width = 64
	if !w.begun {
		*w = window{true, n, 1}
		return true
	}
	if n > w.top {
		ahead := n - w.top
		w.bits = w.bits<<min(ahead, width) | 1
		w.top = n
		return true
	}
	behind := w.top - n
	if behind >= width || w.bits&(1<<behind) != 0 {
		return false
	}
	w.bits |= 1 << behind
	return true
}
