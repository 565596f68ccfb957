package path

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"os"
	"sync"
	"time"
)

const (
	// A round waits three times the longest RTT seen and a little, within bounds: the
	// PROBE_TIMER of RFC 8899 is for transports that go on; this is one short burst.
	minWait  = 100 * time.Millisecond
	maxWait  = time.Second
	waitRTTs = 3
	waitMore = 20 * time.Millisecond
	// straggle is how long after the answer to the last packet of a round another one
	// may come: the network may have changed their order, and a router takes its time
	// to refuse one.
	straggle = 40 * time.Millisecond
	// helloRetry is when a hello is repeated first; then each time after twice as long.
	helloRetry = 250 * time.Millisecond
	// nudgeAfter is how long beside two RTTs the reflector's router may take to
	// refuse a reply, before the reflector is asked whether it did: twice a round, and
	// not in a third round when it had nothing to tell. Every reply tells it, too.
	nudgeAfter   = 3 * time.Millisecond
	nudges       = 2
	nudgesInVain = 2 * nudges
	// nudgeReply is the size of an answer that has room for all the reflector knows.
	nudgeReply = replySize + maxReports*maxReportSize + tlvHeader
	// limitedPause lets the reflector's limits fill again, by as much as jumbo frames
	// of half a search take.
	limitedPause = time.Second
)

// lane is one direction as an exchange serves it: a search, or a test of one size.
type lane interface {
	echo(size int)
	// claim tells what a router says; proven that it has seen the packet.
	claim(size, mtu int, router netip.Addr, proven bool)
	// unsendable tells that the host that was to send a packet of that size cannot, and
	// the MTU of its interface; 0 is not known.
	unsendable(size, mtu int)
	// settled tells that no other answer matters.
	settled() bool
	// waitsOut tells that claims do not end the round.
	waitsOut() bool
}

// exchange talks with one reflector over one socket. It is used by one goroutine.
type exchange struct {
	sock     *socket
	key      []byte
	caller   callerID
	ssid     uint16
	overhead int
	hopLimit int // that packets begin with; 0 is not known

	seq    uint32
	cookie cookie
	shots  map[uint32]*shot // all packets by their number
	ids    map[uint32]*shot // by that of the kernel
	reply  []byte
	lent   *packetPair // that reply and out are of; to be given back
	out    []byte

	round         int
	forward, back lane
	// last is the packet of the round that was sent last, and lastAt when its answer came.
	last   *shot
	lastAt time.Time
	// open is how many packets of the round have neither echo nor claim.
	openForward, openBack int

	// longest RTT of small packets, with the time that the reflector had them: in the
	// round before and this one, latest in this. The first of all may have waited for
	// the neighbour's address.
	longest, latest time.Duration
	spent           cost
	distance        int // hops to the reflector; 0 is not known
	told            map[report]bool
	nudged          int        // times since a router told the reflector something
	own             func() int // the MTU of the interface here; 0 is not known
	peerMTU         int        // of the reflector's interface; 0 is not known
	refused         icmpError
	limited         uint32 // packets that the reflector has dropped so far, above our rate
	throttled       bool   // in this round, of which silence says nothing therefore
}

// shot is one packet. It tests a size in a direction, or both; 0 is no test.
type shot struct {
	forward, back int // sizes of IP packets
	round         int
	payload       int
	user, sent    time.Time // by this process, by the kernel
	received      time.Time
	residence     time.Duration
	answered      bool
	claimed       bool
	again         bool       // sent once more, with a cookie
	nudge         bool       // asks what routers have told the reflector
	ttl           int        // 0 is the usual one
	hop           netip.Addr // the router where the TTL was spent
}

// newExchange opens a socket from the port source. limit must be set before it is used.
func newExchange(to netip.AddrPort, source, ssid uint16, key []byte, caller callerID) (*exchange, error) {
	s, err := dial(source, to)
	if err != nil {
		return nil, err
	}
	return &exchange{
		sock: s, key: key, caller: caller, ssid: ssid, overhead: overheadOf(to.Addr()), hopLimit: s.hopLimit(),
		own:   func() int { return 0 },
		shots: make(map[uint32]*shot), ids: make(map[uint32]*shot), told: make(map[report]bool),
	}, nil
}

// limit sets the size of the largest packet that can come or go, the MTU of the
// interface here.
func (x *exchange) limit(mtu int) {
	x.lent, _ = packets.Get().(*packetPair)
	if x.lent == nil || len(x.lent.in) < mtu {
		x.lent = &packetPair{in: make([]byte, mtu), out: make([]byte, 0, mtu)}
	}
	x.reply, x.out = x.lent.in[:mtu], x.lent.out
}

// packetPair is where one that came and one that goes are.
type packetPair struct{ in, out []byte }

// packets lends pairs: on loopback they are of 64 KiB, for a run of three packets.
var packets sync.Pool

// giveBack ends the use of x, when nobody sends or receives any more.
func (x *exchange) giveBack() {
	if x.lent != nil {
		packets.Put(x.lent)
	}
	x.lent, x.reply, x.out = nil, nil, nil
}

func (x *exchange) close() { _ = x.sock.close() }

// small is the size of packets that test nothing but the path.
func (x *exchange) small() int { return requestSize + x.overhead }

// hello asks until the reflector answers, ctx ends, or until says so. Without an
// answer, refused may tell more.
func (x *exchange) hello(ctx context.Context, until <-chan struct{}) (bool, error) {
	for wait := helloRetry; ; wait *= 2 {
		if err := x.send(&shot{}); err != nil {
			return false, err
		}
		for end := time.Now().Add(wait); ; {
			select {
			case <-until:
				return false, nil
			default:
			}
			soon := time.Now().Add(50 * time.Millisecond)
			last := !soon.Before(end)
			if last {
				soon = end
			}
			err := x.take(ctx, soon)
			switch {
			case x.longest > 0:
				return true, nil
			case errors.Is(err, os.ErrDeadlineExceeded) && last:
			case errors.Is(err, os.ErrDeadlineExceeded):
				continue
			case err != nil:
				return false, err
			case x.refused.what != icmpOther:
				return false, nil
			default:
				continue
			}
			break
		}
	}
}

// wait is how long a round lasts, if nothing comes.
func (x *exchange) wait() time.Duration {
	return min(max(waitRTTs*x.longest+waitMore, minWait), maxWait)
}

// ask sends packets of these sizes, and takes what comes until both lanes are
// settled or the time is over.
func (x *exchange) ask(ctx context.Context, forward, back []int) error {
	x.round++
	x.throttled, x.last, x.lastAt = false, nil, time.Time{}
	if x.latest > 0 {
		x.longest, x.latest = x.latest, 0
	}
	for _, s := range x.volley(forward, back) {
		err := x.send(s)
		switch {
		case tooBigHere(err):
			x.openForward--
			s.claimed = true
			x.forward.unsendable(s.forward, x.own())
		case err != nil:
			return err
		}
	}
	end := time.Now().Add(x.wait())
	nudge, nudged := time.Now().Add(2*x.longest+nudgeAfter), 0
	for !x.over() {
		if soon := x.lastAt.Add(straggle); !x.lastAt.IsZero() && soon.Before(end) && !x.forward.waitsOut() && !x.back.waitsOut() {
			end = soon
		}
		until := end
		if nudged < nudges && x.openBack > 0 && x.nudged < nudgesInVain && nudge.Before(end) {
			until = nudge
		}
		err := x.take(ctx, until)
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case until.Equal(end):
			return nil
		default:
			if err := x.send(&shot{nudge: true}); err != nil {
				return err
			}
			nudged++
			x.nudged++
			nudge = time.Now().Add(time.Until(end) / 2)
		}
	}
	return nil
}

func (x *exchange) over() bool {
	return (x.openForward <= 0 || x.forward.settled()) && (x.openBack <= 0 || x.back.settled())
}

// volley pairs the sizes of both directions. A small packet serves both; small ones
// go last, unless one is the first to be asked for.
func (x *exchange) volley(forward, back []int) []*shot {
	var shots, smalls []*shot
	small := func(i int) *shot {
		if i == len(smalls) {
			smalls = append(smalls, &shot{})
		}
		return smalls[i]
	}
	n, m := 0, 0
	for i := range max(len(forward), len(back)) {
		if i < len(forward) {
			if size := forward[i]; size > x.small() {
				shots = append(shots, &shot{forward: size})
			} else {
				small(n).forward = size
				n++
			}
		}
		if i < len(back) {
			if size := back[i]; size > x.small() {
				shots = append(shots, &shot{back: size})
			} else {
				small(m).back = size
				m++
			}
		}
	}
	x.openForward, x.openBack = len(forward), len(back)
	if len(forward) > 0 && forward[0] <= x.small() {
		return append(smalls, shots...)
	}
	return append(shots, smalls...)
}

// send sends one packet.
func (x *exchange) send(s *shot) error {
	r := request{
		seq: x.seq, ssid: x.ssid, caller: x.caller, cookie: x.cookie,
		size: max(requestSize, s.forward-x.overhead), reply: requestSize,
	}
	switch {
	case s.back > x.small():
		r.reply = s.back - x.overhead
	case s.nudge:
		r.reply = nudgeReply
	}
	s.round, s.payload = x.round, r.size
	x.shots[x.seq] = s
	x.seq++
	s.user = time.Now()
	r.sent = s.user
	x.out = r.appendTo(x.out[:0], x.key)
	id, err := x.sock.send(x.out, netip.AddrPort{}, netip.Addr{}, s.ttl)
	if err != nil {
		return err
	}
	x.ids[id] = s
	if !s.nudge {
		x.last, x.lastAt = s, time.Time{}
	}
	x.spent.add(s.cost(r.size + r.reply + 2*x.overhead))
	return nil
}

// cost of the packet: one that tests no direction serves both.
func (s *shot) cost(bytes int) cost {
	c := cost{packets: 1, bytes: bytes}
	if s.forward > 0 || s.ttl > 0 || s.back == 0 && !s.nudge {
		c.forward = 1
	}
	if s.back > 0 || s.forward == 0 && s.ttl == 0 {
		c.back = 1
	}
	return c
}

// take waits for one arrival and takes it in.
func (x *exchange) take(ctx context.Context, until time.Time) error {
	a, err := x.sock.receive(x.reply, until)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	switch a.kind {
	case arrivalSent:
		if s := x.ids[a.id]; s != nil && !a.at.Before(s.user.Round(0)) {
			s.sent = a.at
		}
	case arrivalError:
		x.takeError(a)
	case arrivalPacket:
		return x.takeReply(a)
	}
	return nil
}

// rtt is the least network round-trip time of the small packets: by the kernels'
// clocks, less the time that the reflector had the packet. 0 is not known.
func (x *exchange) rtt() time.Duration {
	least := time.Duration(math.MaxInt64)
	for _, s := range x.shots {
		if !s.answered || s.forward > x.small() || s.back > x.small() {
			continue
		}
		sent := s.sent
		if sent.IsZero() {
			sent = s.user.Round(0)
		}
		if d := s.received.Sub(sent) - s.residence; d > 0 && s.residence >= 0 {
			least = min(least, d)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}
