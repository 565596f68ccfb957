package path

import (
	"net/netip"
	"slices"
	"time"
)

// How a walk asks. A Linux router sends one time-exceeded a second to one
// address, after a burst of six: three probes a hop in two flows just fit.
const (
	walkWindow  = 4                      // hops asked at once
	walkProbes  = 3                      // probes a hop
	walkSilence = 300 * time.Millisecond // without an answer: the probe is taken for lost
	maxSilence  = time.Second            // the same on a long way
	maxHops     = 30
	// giveUpAfter that many silent hops in a row nothing more is expected.
	giveUpAfter = 8
	// helloTTL reaches any host.
	helloTTL = 64
)

// answerKind is what an answer says of where the probe got to.
type answerKind uint8

const (
	answerPassed  answerKind = iota // a router on the way: time exceeded
	answerReached                   // the end itself
	answerRefused                   // a router that lets nothing pass
)

// unknownProbe is the number of a probe that the answer did not quote.
const unknownProbe = -1

// answer is one packet that came back.
type answer struct {
	seq  int
	kind answerKind
	from netip.Addr
	note string        // what it was, when it was no time-exceeded
	rtt  time.Duration // 0: as the walk's clock tells
}

// walkOptions are what flows differ in.
type walkOptions struct {
	// serial: one probe in flight, as the flow has one socket only.
	serial bool
	// hello asks the end first: its time tells how long to wait for the others.
	hello bool
	// endProbes is how often the end is asked.
	endProbes int
	// again is how long after its silence a hop before the end is asked again: the
	// end's own ICMP may be limited, and the end seem a hop too far.
	again time.Duration
	// mayAsk tells whether a hop that was asked already may be asked again now;
	// nil: always. It is for limits that walks share.
	mayAsk func(ttl int) bool
	limit  int // highest TTL
}

// hopWalk decides which hop of one flow is asked next, and what is known of them. It
// has neither clock nor sockets: times are since its beginning.
type hopWalk struct {
	o        walkOptions
	hops     []walkHop // of TTL 1, 2, ...
	sent     []walkProbe
	inFlight int
	silence  time.Duration
	heard    int // highest TTL with any answer
	end      int // least TTL at which the end, or who refuses, answered; 0: none yet
	endKind  answerKind
	refuser  netip.Addr // of the last refusal
	greeted  bool       // the hello is over
}

type walkHop struct {
	asked     int
	inFlight  bool
	most      int           // probes; 0: as quota says
	notBefore time.Duration // when it may be asked
	limited   bool          // the shared budget forbids more
	silent    bool          // it is over, and nothing came
	again     bool          // it has been asked again because of the end behind it
	seen      []sighting
}

// sighting is an address that answered for a hop.
type sighting struct {
	addr netip.Addr
	kind answerKind
	note string
	rtt  time.Duration // the least
}

type walkProbe struct {
	ttl      int
	at       time.Duration
	open     bool // an answer is still waited for
	answered bool
}

func newHopWalk(o walkOptions) *hopWalk {
	if o.limit <= 0 || o.limit > maxHops {
		o.limit = maxHops
	}
	return &hopWalk{o: o, hops: make([]walkHop, o.limit), silence: walkSilence, greeted: !o.hello}
}

// next is a probe to send now; ok is false when none is due.
func (w *hopWalk) next(now time.Duration) (seq, ttl int, ok bool) {
	w.expire(now)
	if w.o.serial && w.inFlight > 0 {
		return 0, 0, false
	}
	if !w.greeted {
		if len(w.sent) > 0 {
			return 0, 0, false
		}
		return w.ask(helloTTL, now)
	}
	w.askAgain(now)
	base := w.base()
	for ttl := base; ttl <= w.last() && ttl < base+walkWindow; ttl++ {
		h := &w.hops[ttl-1]
		if w.over(ttl) || h.inFlight || now < h.notBefore {
			continue
		}
		if h.asked > 0 && w.o.mayAsk != nil && !w.o.mayAsk(ttl) {
			h.limited = true
			return w.next(now)
		}
		return w.ask(ttl, now)
	}
	return 0, 0, false
}

func (w *hopWalk) ask(ttl int, now time.Duration) (int, int, bool) {
	if ttl <= len(w.hops) {
		h := &w.hops[ttl-1]
		h.asked++
		h.inFlight = true
	}
	w.inFlight++
	w.sent = append(w.sent, walkProbe{ttl: ttl, at: now, open: true})
	return len(w.sent) - 1, ttl, true
}

// wake is when next is to be called again, if no answer comes; done tells that
// the walk is over.
func (w *hopWalk) wake(now time.Duration) (at time.Duration, done bool) {
	w.expire(now)
	if w.greeted {
		w.askAgain(now)
		if w.base() > w.last() {
			return 0, true
		}
	}
	at = now + w.silence
	for i := range w.sent {
		if p := &w.sent[i]; p.open && (p.ttl <= w.last() || !w.greeted) {
			at = min(at, p.at+w.wait(p.ttl))
		}
	}
	for i := range w.hops[:w.last()] {
		if h := &w.hops[i]; h.notBefore > now && !h.inFlight {
			at = min(at, h.notBefore)
		}
	}
	return max(at, now), false
}

// wait is how long an answer to a probe may take.
func (w *hopWalk) wait(ttl int) time.Duration {
	if ttl > len(w.hops) {
		return maxSilence
	}
	return w.silence
}

// expire gives up probes that were not answered in time; their answers still
// count when they come.
func (w *hopWalk) expire(now time.Duration) {
	for i := range w.sent {
		if p := &w.sent[i]; p.open && now >= p.at+w.wait(p.ttl) {
			w.settle(p)
		}
	}
	for ttl := 1; ttl <= w.last(); ttl++ {
		h := &w.hops[ttl-1]
		h.silent = len(h.seen) == 0 && h.asked > 0 && w.over(ttl)
	}
}

// failed says that the probe could not be sent.
func (w *hopWalk) failed(seq int) { w.settle(&w.sent[seq]) }

func (w *hopWalk) settle(p *walkProbe) {
	if !p.open {
		return
	}
	p.open = false
	w.inFlight--
	if p.ttl > len(w.hops) {
		w.greeted = true
		return
	}
	w.hops[p.ttl-1].inFlight = false
}

// answer takes in what came back; it is false when it belongs to no probe.
func (w *hopWalk) answer(a answer, now time.Duration) bool {
	if a.seq == unknownProbe && !w.attribute(&a) {
		return false
	}
	if a.seq < 0 || a.seq >= len(w.sent) || w.sent[a.seq].answered {
		return false
	}
	p := &w.sent[a.seq]
	p.answered = true
	w.settle(p)
	rtt := a.rtt
	if rtt <= 0 || rtt > now-p.at {
		rtt = now - p.at
	}
	// Three round trips, as RTTs of routers scatter: they answer when they have time.
	w.silence = max(w.silence, min(3*rtt, maxSilence))
	if p.ttl > len(w.hops) {
		return true
	}
	w.heard = max(w.heard, p.ttl)
	if a.kind == answerRefused {
		// Whether a router looks at the TTL or its filters first, it is near that hop,
		// not at it.
		w.refuser = a.from
	} else {
		w.hops[p.ttl-1].add(sighting{a.from, a.kind, a.note, rtt})
	}
	if a.kind != answerPassed && (w.end == 0 || p.ttl < w.end) {
		w.end, w.endKind = p.ttl, a.kind
	}
	return true
}

// attribute finds the probe of an answer that quotes too little: the only one in
// flight. From the first such router on the walk keeps it so.
func (w *hopWalk) attribute(a *answer) bool {
	w.o.serial = true
	if w.inFlight != 1 {
		return false
	}
	a.seq = slices.IndexFunc(w.sent, func(p walkProbe) bool { return p.open })
	return true
}

func (h *walkHop) add(s sighting) {
	for i := range h.seen {
		if old := &h.seen[i]; old.addr == s.addr && old.kind == s.kind {
			old.rtt = min(old.rtt, s.rtt)
			return
		}
	}
	h.seen = append(h.seen, s)
}

// askAgain applies the rule of the hop before the end: silent, it may be the end.
func (w *hopWalk) askAgain(now time.Duration) {
	if w.end < 2 {
		return
	}
	h := &w.hops[w.end-2]
	if h.again || !h.silent {
		return
	}
	h.again, h.limited, h.silent = true, false, false
	h.most, h.notBefore = max(h.asked+1, walkProbes), now+w.o.again
}

// base is the lowest hop that is not over, above last when there is none.
func (w *hopWalk) base() int {
	for ttl := 1; ttl <= w.last(); ttl++ {
		if !w.over(ttl) {
			return ttl
		}
	}
	return w.last() + 1
}

// last is the highest hop of interest.
func (w *hopWalk) last() int {
	if w.end > 0 {
		return w.end
	}
	return min(w.o.limit, w.heard+giveUpAfter)
}

// over tells that a hop is asked no more.
func (w *hopWalk) over(ttl int) bool {
	h := &w.hops[ttl-1]
	return !h.inFlight && (h.limited || h.asked >= w.quota(ttl))
}

// quota is how often a hop is asked. Behind two silent ones once is enough: the
// next is likely as silent, and if it is the end, askAgain finds it.
func (w *hopWalk) quota(ttl int) int {
	h := &w.hops[ttl-1]
	switch {
	case h.most > 0 && len(h.seen) == 0:
		return h.most
	case ttl == w.end && w.endKind == answerRefused:
		return 1
	case ttl == w.end:
		return w.o.endProbes
	case ttl > 2 && w.hops[ttl-2].silent && w.hops[ttl-3].silent:
		return 1
	default:
		return walkProbes
	}
}

// found are the hops up to the end, or to the last that answered.
func (w *hopWalk) found() []walkHop {
	switch {
	case w.end == 0:
		return w.hops[:w.heard]
	case w.endKind == answerRefused:
		return w.hops[:w.end-1]
	default:
		return w.hops[:w.end]
	}
}
