package path

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// belief is what is known of the paths to and from one target.
type belief struct {
	turn          chan struct{} // full while a run has it
	known         bool
	forward, back pmtu
	overUDP       bool      // how it is known
	toppedAt      time.Time // larger packets than those were tried
	unsure        int       // searches in a row that left a direction open
	last          struct {  // found ever, though the target may have been silent since
		forward, back pmtu
	}
	limit     *rate.Limiter
	hauledAt  time.Time // the way back was verified over TCP
	located   location  // the hole forward
	kernelMTU int
	cookie    cookie    // the last; good for a minute or two, from the same port
	used      time.Time // guarded by pmtuProber.mu
}

func (p *pmtuProber) beliefOf(at netip.AddrPort) *belief {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.beliefs[at]
	if b == nil {
		if len(p.beliefs) >= maxBeliefs {
			p.forgetLocked()
		}
		b = &belief{turn: make(chan struct{}, 1), limit: rate.NewLimiter(rate.Every(searchEvery), searchBurst)}
		p.beliefs[at] = b
	}
	b.used = time.Now()
	return b
}

// forgetLocked forgets the target that was asked longest ago.
func (p *pmtuProber) forgetLocked() {
	var (
		oldest netip.AddrPort
		used   time.Time
	)
	for at, b := range p.beliefs {
		if used.IsZero() || b.used.Before(used) {
			oldest, used = at, b.used
		}
	}
	delete(p.beliefs, oldest)
}

func (r *pmtuRun) believe(forward, back pmtu, overUDP bool) {
	b := r.belief
	b.forward, b.back, b.known, b.overUDP = forward, back, true, overUDP
	b.toppedAt, b.hauledAt = time.Now(), time.Now()
	b.unsure++
	if forward.sure() && back.sure() {
		b.unsure = 0
	}
	r.verified = true
}

// location is how well the hops around a hole are known.
type location struct {
	near  bool // between neighbours
	tries int
	at    time.Time
}

// sure tells that p says all of a direction.
func (p pmtu) sure() bool { return p.kind == kindExact || p.kind == kindAtLocalMax }

// again tells that another search may say more: soon, if bad luck has left a direction
// open, and later and later if there is no more to say.
func (b *belief) again() bool {
	since := time.Since(b.toppedAt)
	return since >= topEvery || b.unsure > 0 && since >= searchEvery<<min(b.unsure-1, 4)
}
