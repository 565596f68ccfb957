package path

import (
	"context"
	"net/netip"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// ladderRun is a ladder that is climbed while UDP is asked.
type ladderRun struct {
	// giveUp is closed when UDP need not be asked any longer.
	giveUp chan struct{}
	now    chan struct{}
	climb  sdk.Group
	cancel context.CancelFunc

	// once climbed
	ladder *ladder
	found  pmtu
	haulage
	back pmtu
	err  error
}

// startLadder climbs after ladderAfter, unless it is dropped before.
func (r *pmtuRun) startLadder(ctx context.Context) *ladderRun {
	l := &ladderRun{giveUp: make(chan struct{}), now: make(chan struct{})}
	ctx, l.cancel = context.WithCancel(ctx)
	l.climb.Go(func() {
		defer close(l.giveUp)
		began := time.Now()
		t := time.NewTimer(ladderAfter)
		defer t.Stop()
		select {
		case <-t.C:
		case <-l.now:
		case <-ctx.Done():
			l.err = ctx.Err()
			return
		}
		if r.c.TCP {
			r.climbTo(ctx, l)
		} else {
			l.err = errSilent
		}
		// TCP may be quicker than a reflector that loses the first packets.
		t.Reset(helloFor - time.Since(began))
		select {
		case <-t.C:
		case <-l.now:
		case <-ctx.Done():
		}
	})
	return l
}

// hurry begins now: UDP will not answer.
func (l *ladderRun) hurry() { close(l.now) }

func (l *ladderRun) drop() {
	l.cancel()
	l.climb.Wait()
}

func (l *ladderRun) wait() *ladderRun {
	defer l.cancel()
	l.climb.Wait()
	return l
}

// climbTo searches both ways at once.
func (r *pmtuRun) climbTo(ctx context.Context, l *ladderRun) {
	to := r.https()
	top, known := r.topTowards(to)
	l.haulage = haulage{haul: r.haul, to: to, top: min(top, ladderTop)}
	var wg sdk.Group
	wg.Go(func() { l.back = l.haulage.search(ctx) })
	l.ladder, l.found, l.err = climbLadder(ctx, r.climb, to, overheadOf(r.ip)+requestSize, top)
	wg.Wait()
	if top > ladderTop || !known {
		l.back = l.back.bound()
	}
	if !known {
		l.found = l.found.bound()
	}
}

// bound is p where the top that passed is only the largest that was tried.
func (p pmtu) bound() pmtu {
	if p.kind == kindAtLocalMax {
		p.kind, p.blackHole = kindAtLeast, holesUnknown
	}
	return p
}

// https is where the target's web server listens.
func (r *pmtuRun) https() netip.AddrPort { return netip.AddrPortFrom(r.ip, httpsPort(r.target)) }

// topTowards is the largest packet that the interface towards to takes, and whether
// that is known.
func (r *pmtuRun) topTowards(to netip.AddrPort) (top int, known bool) {
	s, err := dial(0, to)
	if err != nil {
		return guessedTop, false
	}
	defer s.close()
	if own := r.ownMTU(s); own > 0 {
		return own, true
	}
	return guessedTop, false
}

// overTCP is a run towards a target without a reflector. What is known is kept until
// larger packets are due again.
func (r *pmtuRun) overTCP(ctx context.Context) error {
	b := r.belief
	if b.known && b.forward.mtu+b.back.mtu > 0 && !b.again() {
		fine, err := r.stillOverTCP(ctx)
		if err != nil || fine {
			r.verified = fine
			return err
		}
		if !b.limit.Allow() {
			r.postponed = true
			return nil
		}
	}
	r.searched = true
	l := &ladderRun{}
	r.climbTo(ctx, l)
	return r.takeLadder(l)
}

// stillOverTCP tells whether what is known still passes.
func (r *pmtuRun) stillOverTCP(ctx context.Context) (bool, error) {
	b := r.belief
	if b.forward.mtu > 0 {
		c, err := r.climb(ctx, r.https(), []int{b.forward.mtu})
		r.spent.add(cost{packets: c.packets, forward: c.packets, bytes: c.bytes})
		r.rtt = c.rtt
		if err != nil || c.passed != b.forward.mtu {
			return false, err
		}
		if b.back.mtu == 0 || !r.mayHaul() {
			return true, nil
		}
	}
	b.hauledAt = time.Now()
	h, err := r.haul(ctx, r.https(), b.back.mtu)
	r.spent.add(cost{packets: h.packets, back: h.packets, bytes: h.bytes})
	return err == nil && h.whole && h.full == b.back.mtu, err
}

// mayHaul tells that the way back is to be verified now.
func (r *pmtuRun) mayHaul() bool {
	return r.hauls.Allow() || r.target.Occasion != "" || time.Since(r.belief.hauledAt) >= haulEvery
}

// takeLadder takes what TCP found.
func (r *pmtuRun) takeLadder(l *ladderRun) error {
	r.spent.add(cost{packets: l.haulage.packets, back: l.haulage.packets, bytes: l.haulage.bytes})
	if l.ladder != nil {
		r.spent.add(cost{packets: l.ladder.packets, forward: l.ladder.packets, bytes: l.ladder.bytes})
		r.rtt = l.ladder.rtt
	}
	if l.err != nil {
		return l.err
	}
	r.believe(l.found, l.back, false)
	return nil
}

// explain says why a run came to nothing.
func (r *pmtuRun) explain(ctx context.Context, err error) error {
	to := netip.AddrPortFrom(r.ip, r.at.port)
	switch {
	case ctx.Err() != nil:
		return sdk.Fail(sdk.ReasonTimeout, "no answer in time from %s", to)
	case err != errSilent:
		return err
	case r.refused.what == icmpPort:
		return sdk.Fail(sdk.ReasonRefused, "%s has no reflector on UDP port %d", r.ip, r.at.port)
	case r.refused.what == icmpProhibited, r.refused.what == icmpUnreachable:
		return sdk.Fail(sdk.ReasonUnreachable, "%s lets no UDP pass to %s", r.refused.router, to)
	default:
		return sdk.Fail(sdk.ReasonTimeout, "no answer from UDP port %d of %s", r.at.port, r.ip)
	}
}
