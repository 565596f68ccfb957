package path

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// paceTick is when packets are sent: those of all trains together, so that 1,000
// peers wake this process no more often than a few.
const paceTick = 10 * time.Millisecond

// pacerBuffer holds the replies and times of sending of a tick, and of the next.
const pacerBuffer = 1 << 20

// datagrams is a socket for packets to anybody.
type datagrams interface {
	send(payload []byte, to netip.AddrPort, from netip.Addr, ttl int) (id uint32, err error)
	receive(buf []byte, deadline time.Time) (arrival, error)
	close() error
}

// pacer sends the packets of all trains and takes in the replies: over one socket
// for each family, by one goroutine that sends while there are trains, and one for
// each socket.
type pacer struct {
	log  hclog.Logger
	open func(v6 bool) (datagrams, error)

	mu      sync.Mutex // guards below
	sockets [2]*pacedSocket
	flights map[flightKey]*flight
	cookies map[netip.AddrPort]cookie // of reflectors: the last
	pacing  bool
	closed  bool
	wake    chan struct{}  // a train is there
	running sync.WaitGroup // goroutines
}

// pacedSocket is the socket of one family.
type pacedSocket struct {
	datagrams
	// awaited is whose times of sending are to come, by the id of the packet.
	awaited map[uint32]awaitedTime
	// drops is how many packets the kernel dropped here, as far as it has told.
	drops uint32
	// adrift: ids and times do not belong together any more.
	adrift bool
}

type awaitedTime struct {
	flight *flight
	seq    uint32
}

func newPacer(log hclog.Logger) *pacer {
	return &pacer{
		log: log, flights: map[flightKey]*flight{}, cookies: map[netip.AddrPort]cookie{}, wake: make(chan struct{}, 1),
		open: func(v6 bool) (datagrams, error) {
			own := netip.IPv4Unspecified()
			if v6 {
				own = netip.IPv6Unspecified()
			}
			s, err := listen(netip.AddrPortFrom(own, 0), roleProber)
			if err != nil {
				return nil, err
			}
			s.buffer(pacerBuffer)
			return s, nil
		},
	}
}

// close ends all trains and waits for the goroutines.
func (p *pacer) close() error {
	p.mu.Lock()
	p.closed = true
	var errs []error
	for _, f := range p.flights {
		p.landLocked(f)
	}
	for i := range p.sockets {
		errs = append(errs, p.shutLocked(i))
	}
	p.mu.Unlock()
	p.poke()
	p.running.Wait()
	return errors.Join(errs...)
}

func (p *pacer) shutLocked(i int) error {
	s := p.sockets[i]
	if s == nil {
		return nil
	}
	p.sockets[i] = nil
	return s.close()
}

// run sends a train and returns it at its end, or that of ctx. drops is how many
// packets the kernel dropped here meanwhile.
func (p *pacer) run(ctx context.Context, f *flight) (drops int, err error) {
	f.over = make(chan struct{})
	if err := p.start(f); err != nil {
		return 0, err
	}
	select {
	case <-f.over:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.landLocked(f)
	return int(f.socket.drops - f.drops), f.err
}

func (p *pacer) start(f *flight) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	s, err := p.socketLocked(f.peer.Addr())
	if err != nil {
		return err
	}
	f.socket, f.drops = s, s.drops
	// Sessions of one reflector have different numbers; which, nobody should guess.
	for f.ssid = uint16(rand.Uint32()); p.flights[f.flightKey] != nil; f.ssid++ {
	}
	f.due, f.cookie = time.Now(), p.cookies[f.peer]
	p.flights[f.flightKey] = f
	if !p.pacing {
		p.pacing = true
		p.running.Go(p.pace)
	}
	p.poke()
	return nil
}

// poke wakes the pacing goroutine, if it sleeps.
func (p *pacer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// socketLocked is the socket for ip, a new one if need be.
func (p *pacer) socketLocked(ip netip.Addr) (*pacedSocket, error) {
	i := 0
	if ip.Is6() {
		i = 1
	}
	if s := p.sockets[i]; s != nil {
		if !s.adrift || len(p.flights) > 0 {
			return s, nil
		}
		_ = p.shutLocked(i)
	}
	d, err := p.open(ip.Is6())
	if err != nil {
		return nil, err
	}
	s := &pacedSocket{datagrams: d, awaited: map[uint32]awaitedTime{}}
	p.sockets[i] = s
	p.running.Go(func() { p.listen(s) })
	return s, nil
}

// landLocked ends a train; what comes for it later is nobody's.
func (p *pacer) landLocked(f *flight) {
	if p.flights[f.flightKey] != f {
		return
	}
	delete(p.flights, f.flightKey)
	p.keepLocked(f)
	for _, id := range f.ids {
		if f.socket.awaited[id].flight == f {
			delete(f.socket.awaited, id)
		}
	}
	close(f.over)
}

// keepLocked keeps the cookie of a train for the next one: with it all packets are
// counted by direction.
func (p *pacer) keepLocked(f *flight) {
	if _, known := p.cookies[f.peer]; !known && len(p.cookies) >= maxBeliefs {
		for any := range p.cookies {
			delete(p.cookies, any)
			break
		}
	}
	p.cookies[f.peer] = f.cookie
}

// errPanic ends a train that made the pacer panic; the log has the rest.
var errPanic = sdk.Internal(errors.New("panic while a packet was made or sent"))

// pace sends what is due at each tick, and ends with the last train.
func (p *pacer) pace() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	buf := make([]byte, 0, requestSize)
	for {
		next, going := p.tick(buf)
		if !going {
			return
		}
		timer.Reset(time.Until(next))
		select {
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// tick does what is due, and tells when there is more to do. It holds the lock for
// all of it: taken for each packet, those who receive would get in between, one
// packet at a time, and the price of a packet would be that of changing goroutines.
func (p *pacer) tick(buf []byte) (next time.Time, going bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, f := range p.flights {
		if f.due.After(now) {
			continue
		}
		fine := false
		sdk.Survive(p.log, "stamp", func() {
			p.advanceLocked(f, buf)
			fine = true
		})
		if !fine {
			f.err = errPanic
			p.landLocked(f)
		}
	}
	for _, f := range p.flights {
		if next.IsZero() || f.due.Before(next) {
			next = f.due
		}
	}
	p.pacing = len(p.flights) > 0
	return next, p.pacing
}

// advanceLocked sends the next packet of f, or ends it.
func (p *pacer) advanceLocked(f *flight, buf []byte) {
	switch {
	case !f.closing:
		p.sendLocked(f, buf)
		f.closing = f.sent()
	case f.train.open():
		p.sendLocked(f, buf)
	default:
		p.landLocked(f)
		return
	}
	if f.closing {
		f.due = time.Now().Add(f.tail())
		return
	}
	// Late packets are not made up for: that would be a burst.
	f.due = tickAfter(f.due, f.spacing, time.Now())
}

// tickAfter is the first of due+spacing, due+2*spacing ... after now, put on the
// ticks that all trains share.
func tickAfter(due time.Time, spacing time.Duration, now time.Time) time.Time {
	due = due.Add(spacing)
	if behind := now.Sub(due); behind > 0 {
		due = due.Add(behind / spacing * spacing)
		if !due.After(now) {
			due = due.Add(spacing)
		}
	}
	if tick := due.Round(paceTick); tick.After(now) {
		// Round strips the monotonic clock; add keeps it.
		return due.Add(tick.Sub(due.Round(0)))
	}
	return due
}

func (p *pacer) sendLocked(f *flight, buf []byte) {
	now := time.Now()
	seq := f.send(now)
	r := request{seq: seq, ssid: f.ssid, sent: now, caller: f.caller, cookie: f.cookie}
	id, err := f.socket.send(r.appendTo(buf, f.key), f.peer, netip.Addr{}, 0)
	if err != nil {
		// Those that are out are waited for.
		f.packets = f.packets[:seq]
		if f.err, f.want = err, len(f.packets); len(f.packets) == 0 {
			p.landLocked(f)
		}
		return
	}
	f.socket.awaited[id] = awaitedTime{f, seq}
	f.ids = append(f.ids, id)
}

// listen takes in what comes by s, until it is closed.
func (p *pacer) listen(s *pacedSocket) {
	buf := make([]byte, maxReply)
	ears := ears{log: p.log, who: "stamp"}
	for {
		a, ok, over := ears.hear(s, buf)
		if over {
			return
		}
		if !ok {
			continue
		}
		sdk.Survive(p.log, "stamp", func() { p.arrived(s, a) })
	}
}

// maxReply: replies are as large as their requests.
const maxReply = 2048

func (p *pacer) arrived(s *pacedSocket, a arrival) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch a.kind {
	case arrivalPacket:
		// The kernel says nothing while nothing was dropped.
		s.drops = max(s.drops, a.overflow)
		if len(a.payload) < baseSize || a.cut {
			return
		}
		f := p.flights[flightKey{a.from, binary.BigEndian.Uint16(a.payload[14:])}]
		if f == nil {
			return
		}
		if r, err := parseReply(a.payload, f.key); err == nil && f.take(&r, a.at, a.user) && f.complete() {
			p.landLocked(f)
		}
	case arrivalSent:
		w, ok := s.awaited[a.id]
		if !ok {
			return
		}
		delete(s.awaited, a.id)
		if !s.adrift && !w.flight.stamp(w.seq, a.at) {
			s.adrift = true
		}
	case arrivalError:
		if ssid, _, ok := quoted(a.payload); ok && !a.icmp.byHost {
			if f := p.flights[flightKey{a.from, ssid}]; f != nil {
				f.refused, f.by = a.icmp.what, a.icmp.router
			}
		}
	}
}
