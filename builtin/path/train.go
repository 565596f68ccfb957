package path

import (
	"math"
	"slices"
	"time"
)

const (
	// minTail and maxTail bound how long the last packets of a train are waited
	// for: three round trips of the slowest so far, and some for the peer.
	minTail   = 300 * time.Millisecond
	maxTail   = time.Second
	tailExtra = 20 * time.Millisecond
	// maxClosers are sent when the last packets of a train are not answered: the
	// reflector's count in the answer to one tells which way they were lost.
	maxClosers = 3
	// lateAfter is when a packet counts as lost though its answer comes (RFC 2680
	// section 2.1 wants such a limit named).
	lateAfter = 2 * time.Second
)

// train is a run of packets to one reflector, in a session of its own. It has
// neither clock nor sockets.
//
// The reflector counts its replies (RFC 8762, stateful mode). What it has counted
// up to the last reply that came, less the replies that came, was lost on the way
// back; what was sent up to there and not counted, on the way there. Of packets
// behind the last one that is answered the direction is not known, nor of those
// before the first whose cookie the reflector takes: it does not count them.
type train struct {
	want    int // packets
	packets []trainPacket
	// counted is how many replies the reflector sent up to the last that came.
	counted uint32
	// covered is how many packets were sent up to the last one answered, base how many
	// before the count began.
	covered    int
	base       int
	uncounted  int    // replies to those
	cookie     cookie // for the next packet
	answered   int    // packets, but for late ones
	late       int
	duplicates int
	broken     bool // the reflector's numbers are no count of this train
	slowest    time.Duration

	reordered reordering
	overflow  counter // packets dropped in the reflector's socket
	limited   int     // packets of this train above its rate
}

// trainPacket is one packet and its reply. Times without user in their name are
// the kernels', where they tell; zero when not known.
type trainPacket struct {
	userSent, sent         time.Time
	peerReceived, peerSent time.Time
	userReceived, received time.Time
	count                  uint32 // the reflector's, if counted
	answered, counted      bool
}

// reordering counts packets that were overtaken, by direction.
type reordering struct{ forward, backward int }

// counter is a count of somebody else's that begins anywhere and may wrap.
type counter struct {
	begun       bool
	first, last uint32
}

func (c *counter) see(n uint32) {
	if !c.begun {
		*c = counter{true, n, n}
		return
	}
	// Replies may come in another order. A count that goes back by half of its
	// range began anew.
	if n-c.last < 1<<31 {
		c.last = n
	}
}

// rise is how much it rose while it was seen.
func (c *counter) rise() int { return int(c.last - c.first) }

func newTrain(want int) *train {
	return &train{want: want, packets: make([]trainPacket, 0, want+maxClosers)}
}

// send adds a packet and gives its number.
func (t *train) send(now time.Time) (seq uint32) {
	t.packets = append(t.packets, trainPacket{userSent: now})
	return uint32(len(t.packets) - 1)
}

// stamp is the kernel's time of sending; it is false when it cannot be that.
func (t *train) stamp(seq uint32, at time.Time) bool {
	if int64(seq) >= int64(len(t.packets)) {
		return false
	}
	p := &t.packets[seq]
	// The kernel sends after this process, unless it is another packet's time or
	// the clock was set in between.
	if at.Before(p.userSent) {
		return false
	}
	p.sent = at
	return true
}

// take takes in a reply; it is false when no packet has asked for it.
func (t *train) take(r *reply, at, user time.Time) bool {
	if int64(r.askedSeq) >= int64(len(t.packets)) {
		return false
	}
	p := &t.packets[r.askedSeq]
	if p.answered {
		t.duplicates++
		return true
	}
	t.overflow.see(r.overflow)
	p.answered = true
	p.peerReceived, p.peerSent = r.received, r.sent
	p.received, p.userReceived = at, user
	t.count(r, p)
	t.cookie = r.cookie
	took := user.Sub(p.userSent)
	if took > lateAfter {
		t.late++
		return true
	}
	t.slowest = max(t.slowest, took)
	t.answered++
	return true
}

// count takes up the reflector's count in a reply to p.
func (t *train) count(r *reply, p *trainPacket) {
	asked := int(r.askedSeq)
	if r.stateless {
		t.uncounted++
		if asked >= t.base {
			t.broken = t.broken || t.counted > 0
			t.base = len(t.packets) // from here on they have a cookie
		}
	} else {
		t.check(r)
		p.counted, p.count = true, r.seq
		if asked < t.covered {
			t.overtaken(r)
		}
		t.counted = max(t.counted, r.seq+1)
		t.limited = max(t.limited, int(min(r.limited, math.MaxInt32)))
	}
	t.covered = max(t.covered, asked+1)
}

// overtaken counts a reply that comes after one to a later packet: the reflector's
// count tells on which way that happened.
func (t *train) overtaken(r *reply) {
	if r.seq+1 < t.counted {
		t.reordered.backward++
	} else {
		t.reordered.forward++
	}
}

// check finds out that the reflector's numbers are of no use: it has lost count
// meanwhile, or counts more than this train.
func (t *train) check(r *reply) {
	if int(r.askedSeq) < t.base || int64(r.seq) >= int64(len(t.packets)-t.base) {
		t.broken = true
		return
	}
	for i := range t.packets {
		if p := &t.packets[i]; p.counted && p.count == r.seq {
			t.broken = true
			return
		}
	}
}

// sent tells that all packets are out, but for closers.
func (t *train) sent() bool { return len(t.packets) >= t.want }

// complete tells that there is nothing to wait for.
func (t *train) complete() bool { return t.sent() && t.answered+t.late == len(t.packets) }

// tail is how long to wait after the last packet.
func (t *train) tail() time.Duration {
	if t.answered == 0 {
		return maxTail
	}
	return min(max(3*t.slowest+tailExtra, minTail), maxTail)
}

// open tells that another closer may find out which way the last packets were lost.
func (t *train) open() bool {
	return t.answered > 0 && !t.broken && t.covered < len(t.packets) && len(t.packets) < t.want+maxClosers
}

// share is so many of so many.
type share struct{ n, of int }

// ratio is 0 of nothing.
func (s share) ratio() float64 {
	if s.of == 0 {
		return 0
	}
	return float64(s.n) / float64(s.of)
}

// losses is where packets of a train were lost.
type losses struct {
	// all counts packets without an answer in time. When split, forward and
	// backward are those whose direction is known.
	all               share
	split             bool
	forward, backward share
	// unknown were lost one way or the other.
	unknown int
	// overflow were dropped in the reflector's socket, limited above its rate, own
	// in the socket here: not on the way, and in none of the above.
	overflow, limited, own int
}

// lost counts, when the train is over. own is how many packets were dropped in
// the socket here meanwhile: of any train, so that only as many are taken off as
// are missing.
func (t *train) lost(own int) losses {
	replies := t.answered + t.late
	l := losses{unknown: len(t.packets) - replies}
	if t.counted > 0 && !t.broken {
		sent := t.covered - t.base
		back := max(int(t.counted)-(replies-t.uncounted), 0)
		forth := max(sent-int(t.counted), 0)
		l.split = true
		l.unknown = len(t.packets) - max(sent, replies-t.uncounted) - t.uncounted
		l.own, back = takeOff(back, own)
		l.overflow, forth = takeOff(forth, t.overflow.rise())
		l.limited, forth = takeOff(forth, t.limited)
		l.forward = share{forth, sent - l.overflow - l.limited}
		l.backward = share{back, int(t.counted) - l.own}
	}
	apart := l.own + l.overflow + l.limited
	l.all = share{len(t.packets) - t.answered - apart, len(t.packets) - apart}
	return l
}

// takeOff takes up to some off n.
func takeOff(n, some int) (off, left int) {
	off = min(n, max(some, 0))
	return off, n - off
}

// median of list, which it sorts; 0 of none.
func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}
