package path

import "time"

// A sample is self-loaded when this process was that much later than the kernel:
// the more so the shorter the way is.
const (
	selfLoaded     = time.Millisecond
	selfLoadedPart = 4
)

// timing is what the times of a train say.
//
//	T1 request sent    T2 request received    T3 reply sent    T4 reply received
//
//	rtt          (T4 - T1) - (T3 - T2), T1, T2 and T4 by the kernels
//	residence    T3 - T2: how long the reflector had the packet
//	host delay   (T4 - T1) by this process, less that by its kernel
//	jitter       mean of |IPDV| (RFC 3393) of packets that were sent one after the
//	             other and both came: forward |(T2' - T2) - (T1' - T1)|, backward
//	             |(T4' - T4) - (T3' - T3)|. The clocks need not agree.
type timing struct {
	samples                     int
	rtt, least                  time.Duration // median
	residence, hostDelay        time.Duration // medians
	loaded                      int           // samples that are self-loaded
	forwardJitter, backJitter   time.Duration
	forwardPairs, backwardPairs int // what the jitter is of; 0: not known
	userSent                    int // samples without a kernel's T1: the process' own stands in
}

// sample is what one packet says.
type sample struct {
	ok                   bool
	t1, t2, t3, t4       time.Time
	rtt, residence, host time.Duration
}

// sampleOf is not ok when there is no reply in time, or a clock was set meanwhile.
func sampleOf(p *trainPacket) (s sample) {
	// The clock that only goes forward: an upper bound of all that follows.
	whole := p.userReceived.Sub(p.userSent)
	if !p.answered || whole > lateAfter {
		return s
	}
	s.t1, s.t2, s.t3, s.t4 = p.sent, p.peerReceived, p.peerSent, p.received
	if s.t1.IsZero() {
		s.t1 = p.userSent.Round(0)
	}
	kernel := s.t4.Sub(s.t1)
	s.residence = s.t3.Sub(s.t2)
	s.rtt = kernel - s.residence
	s.host = whole - kernel
	// Clocks are slewed by up to 0.05 % (adjtimex) while they are right.
	slack := whole/2000 + time.Microsecond
	s.ok = s.residence >= 0 && s.rtt >= 0 && kernel <= whole+slack
	s.host = max(s.host, 0)
	return s
}

// ownDelay is the most that a host takes which is not busy.
func ownDelay(rtt time.Duration) time.Duration { return max(selfLoaded, rtt/selfLoadedPart) }

// timing is what is known at the end of the train.
func (t *train) timing() timing {
	var (
		m                      timing
		rtts, residence, hosts []time.Duration
		forward, backward      time.Duration
		last                   sample
	)
	for i := range t.packets {
		s := sampleOf(&t.packets[i])
		if s.ok {
			rtts, residence, hosts = append(rtts, s.rtt), append(residence, s.residence), append(hosts, s.host)
			if s.host > ownDelay(s.rtt) {
				m.loaded++
			}
			if t.packets[i].sent.IsZero() {
				m.userSent++
			}
		}
		if s.ok && last.ok {
			if d, ok := variation(last, s, s.t2.Sub(last.t2)-s.t1.Sub(last.t1)); ok {
				forward += d
				m.forwardPairs++
			}
			if d, ok := variation(last, s, s.t4.Sub(last.t4)-s.t3.Sub(last.t3)); ok {
				backward += d
				m.backwardPairs++
			}
		}
		last = s
	}
	m.samples = len(rtts)
	m.rtt, m.residence, m.hostDelay = median(rtts), median(residence), median(hosts)
	if len(rtts) > 0 {
		m.least = rtts[0] // sorted by now
	}
	if m.forwardPairs > 0 {
		m.forwardJitter = forward / time.Duration(m.forwardPairs)
	}
	if m.backwardPairs > 0 {
		m.backJitter = backward / time.Duration(m.backwardPairs)
	}
	return m
}

// variation is |d|, an IPDV of two packets. A delay one way is between nothing and
// the RTT, so no two differ by more than the larger RTT: else a clock was set.
func variation(a, b sample, d time.Duration) (time.Duration, bool) {
	d = d.Abs()
	return d, d <= max(a.rtt, b.rtt)+time.Millisecond
}
