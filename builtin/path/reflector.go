package path

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// cookieEpoch is how long new cookies are the same.
const cookieEpoch = time.Minute

// reflector answers the requests of callers who prove their key, on one UDP port of
// both families. Anybody else gets no answer at all.
//
// It is no amplifier: an answer is larger than the request only if the request has
// the key of its caller and a cookie, which its source address was sent less than two
// minutes ago; and no caller gets more than its rate. Without the cookie nothing is
// counted or kept but that, so that recorded packets harm nobody.
type reflector struct {
	log     hclog.Logger
	secret  []byte
	callers *callers
	mtus    *interfaces
	sockets []*socket
	counts  *reflectorCounts
	running sync.WaitGroup
}

// reflectorCounts is what reflectors did. Nobody who sends to them is told.
type reflectorCounts struct {
	answered  atomic.Uint64
	malformed atomic.Uint64 // not of this protocol, or of another length than it says
	wrongKey  atomic.Uint64
	replayed  atomic.Uint64
	limited   atomic.Uint64 // above the rate of its caller
	lies      atomic.Uint64 // ICMP errors about packets that were never sent
}

// byName are the counters as operators see them.
func (c *reflectorCounts) byName() map[string]uint64 {
	return map[string]uint64{
		"reflector_answered_packets":  c.answered.Load(),
		"reflector_malformed_packets": c.malformed.Load(),
		"reflector_wrong_key_packets": c.wrongKey.Load(),
		"reflector_replayed_packets":  c.replayed.Load(),
		"reflector_limited_packets":   c.limited.Load(),
		"reflector_icmp_lies":         c.lies.Load(),
	}
}

// startReflector listens on port of every address, or any free port when it is 0.
// It lives until close. An error is that the port is taken, or the system lacks what is needed.
func startReflector(port uint16, secret []byte, counts *reflectorCounts, log hclog.Logger) (*reflector, error) {
	r := &reflector{log: log, secret: secret, counts: counts, callers: newCallers(), mtus: new(interfaces)}
	var missing error
	for _, all := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		s, err := listen(netip.AddrPortFrom(all, port), roleReflector)
		switch {
		case errors.Is(err, syscall.EAFNOSUPPORT):
			missing = err // a host of one family
			continue
		case err != nil:
			for _, s := range r.sockets {
				_ = s.close()
			}
			return nil, fmt.Errorf("listen on UDP port %d: %w", port, err)
		}
		port = s.local().Port()
		r.sockets = append(r.sockets, s)
	}
	if len(r.sockets) == 0 {
		return nil, missing
	}
	for _, s := range r.sockets {
		r.running.Go(func() { r.serve(s) })
	}
	return r, nil
}

// close ends the reflector and waits for it.
func (r *reflector) close() error {
	var errs []error
	for _, s := range r.sockets {
		errs = append(errs, s.close())
	}
	r.running.Wait()
	return errors.Join(errs...)
}

// serve answers what comes in on s, until it is closed.
func (r *reflector) serve(s *socket) {
	in, out := make([]byte, maxPayload), make([]byte, 0, maxPayload)
	ears := ears{log: r.log, who: "reflector"}
	for {
		a, ok, over := ears.hear(s, in)
		if over {
			return
		}
		if !ok {
			continue
		}
		sdk.Survive(r.log, "reflector", func() { r.handle(s, a, out) })
	}
}

func (r *reflector) handle(s *socket, a arrival, out []byte) {
	switch {
	case a.kind == arrivalError:
		r.learn(a)
	case a.kind == arrivalPacket && a.cut:
		r.counts.malformed.Add(1)
	case a.kind == arrivalPacket:
		r.answer(s, a, out)
	}
}

// answer answers one packet, if it deserves that.
func (r *reflector) answer(s *socket, a arrival, out []byte) {
	req, tag, err := parseRequest(a.payload)
	if err != nil {
		r.counts.malformed.Add(1)
		return
	}
	key := callerKey(r.secret, req.caller)
	if !tag.check(key) {
		r.counts.wrongKey.Add(1)
		return
	}
	now := time.Now()
	rep := r.replyTo(&req, a, now)
	refused := admitted
	if rep.stateless {
		rep.seq, refused = req.seq, r.callers.admitStranger(&req, tag.tag, a.from, now)
	} else {
		var known admission
		known, refused = r.callers.admit(&req, a.from, max(rep.size, replySize), now)
		rep.seq, rep.limited = known.seq, known.limited
		room := max(rep.size-replySize-tlvHeader, 0) / maxReportSize // and padding: see seal
		rep.reports = known.reports[max(len(known.reports)-room, 0):]
	}
	switch refused {
	case refusedReplay:
		r.counts.replayed.Add(1)
		return
	case refusedRate:
		r.counts.limited.Add(1)
		return
	}
	r.counts.answered.Add(1)
	if err := r.send(s, a, rep, key, out); tooBigHere(err) {
		rep.size, rep.tooBig = min(rep.size, req.size), true
		rep.mtu = r.mtus.towards(a.to, a.from.Addr(), now) // it may leave by another interface
		_ = r.send(s, a, rep, key, out)
	}
	// Any other error is the way back: the caller finds out by itself.
}

func (r *reflector) send(s *socket, a arrival, rep *reply, key, out []byte) error {
	rep.sent = time.Now()
	_, err := s.send(rep.appendTo(out, key), a.from, a.to, 0)
	return err
}

// replyTo is the reply as far as it does not depend on what went before.
func (r *reflector) replyTo(req *request, a arrival, now time.Time) *reply {
	rep := &reply{
		ssid: req.ssid, received: a.at,
		askedSeq: req.seq, askedSent: req.sent, askedTTL: uint8(min(max(a.ttl, 0), 255)),
		seen: seen{got: len(a.payload), mtu: r.mtus.mtu(a.index, now), overflow: a.overflow},
		size: req.size,
	}
	epoch := uint64(now.Unix()) / uint64(cookieEpoch/time.Second)
	rep.cookie = cookieFor(r.secret, req.caller, a.from, epoch)
	rep.stateless = req.cookie == cookie{} ||
		req.cookie != rep.cookie && req.cookie != cookieFor(r.secret, req.caller, a.from, epoch-1)
	switch {
	case req.reply == 0:
	case req.reply <= req.size, !rep.stateless:
		rep.size = req.reply
	default:
		rep.small = true
	}
	return rep
}

// learn keeps an ICMP error about a reply for its caller to fetch.
func (r *reflector) learn(a arrival) {
	if a.icmp.what != icmpTooBig {
		return
	}
	p := report{mtu: a.icmp.mtu, router: a.icmp.router}
	ssid, seq, ok := quotedReply(a.payload)
	p.seq, p.quotes = seq, ok
	if !r.callers.learn(a.from, p, ssid, time.Now()) {
		r.counts.lies.Add(1)
	}
}
