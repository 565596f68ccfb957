package path

import "time"

// takeReply takes a packet, if it is a reply to one of ours.
func (x *exchange) takeReply(a arrival) error {
	r, err := parseReply(a.payload, x.key)
	if err != nil || a.cut || r.ssid != x.ssid {
		return nil
	}
	s := x.shots[r.askedSeq]
	if s == nil || s.answered || r.got != s.payload {
		return nil
	}
	s.answered, s.received, s.residence = true, a.at, r.sent.Sub(r.received)
	x.cookie, x.peerMTU = r.cookie, r.mtu
	if s == x.last {
		x.lastAt = time.Now()
	}
	if ttl := int(r.askedTTL); ttl > 0 && s.ttl == 0 && ttl <= x.hopLimit {
		x.distance = x.hopLimit - ttl + 1
	}
	if s.forward <= x.small() && s.back <= x.small() {
		// Not this process' own delay: receive gives what came in time.
		x.latest = max(x.latest, a.at.Sub(s.user.Round(0)), time.Microsecond)
		x.longest = max(x.longest, x.latest)
	}
	x.takeReports(r.reports)
	if r.limited > x.limited {
		x.limited, x.throttled = r.limited, true
	}
	switch {
	case r.small && s.back > x.small() && !s.again:
		return x.send(&shot{back: s.back, again: true}) // with the new cookie
	case r.tooBig:
		if s.back > 0 && s.round == x.round {
			x.openBack--
			x.back.unsendable(s.back, r.mtu)
		}
		return nil
	}
	if s.forward > 0 && s.ttl == 0 {
		if x.forward.echo(s.forward); s.round == x.round && !s.claimed {
			x.openForward--
		}
	}
	if s.back > 0 && !r.small && (s.back <= x.small() || r.size+x.overhead == s.back) {
		if x.back.echo(s.back); s.round == x.round && !s.claimed {
			x.openBack--
		}
	}
	return nil
}

// takeReports takes what routers told the reflector about its replies.
func (x *exchange) takeReports(list []report) {
	for _, p := range list {
		if x.told[p] || x.back == nil {
			continue
		}
		x.told[p], x.nudged = true, 0
		s := x.shots[p.seq]
		if !p.quotes {
			s = x.largest(func(s *shot) int { return s.back })
		}
		if s == nil || s.back <= x.small() {
			continue
		}
		x.back.claim(s.back, p.mtu, p.router, p.quotes)
		if p.quotes && s.round == x.round && !s.claimed && !s.answered && !x.back.waitsOut() {
			x.openBack--
			s.claimed = true
		}
	}
}

// takeError takes an ICMP error about one of our packets. One that quotes too little
// to show that its sender saw the packet only gives a size to try.
func (x *exchange) takeError(a arrival) {
	if a.icmp.byHost {
		return
	}
	ssid, seq, ok := quoted(a.payload)
	var s *shot
	switch {
	case ok && ssid == x.ssid:
		// Who does not see our packets cannot know when they were sent.
		if s = x.shots[seq]; s != nil && !parseTime(a.payload[4:]).Equal(s.user) {
			return
		}
	case !ok && len(a.payload) < 16 && a.icmp.what == icmpTooBig:
		s = x.largest(func(s *shot) int { return s.forward })
	}
	switch {
	case s == nil:
	case a.icmp.what == icmpTimeExceeded:
		s.hop = a.icmp.router
	case a.icmp.what != icmpTooBig:
		x.refused = a.icmp
	case s.forward > x.small() && s.ttl == 0:
		x.forward.claim(s.forward, a.icmp.mtu, a.icmp.router, ok)
		if ok && s.round == x.round && !s.claimed && !s.answered && !x.forward.waitsOut() {
			x.openForward--
			s.claimed = true
		}
	}
}

// largest is the packet of the round without an answer that is most likely meant by
// an error that does not say.
func (x *exchange) largest(size func(*shot) int) (best *shot) {
	for _, s := range x.shots {
		if s.round == x.round && !s.answered && !s.claimed && (best == nil || size(s) > size(best)) {
			best = s
		}
	}
	return best
}
