package path

import (
	"context"
	"time"
)

// check verifies the belief; again tells that a search is due.
func (r *pmtuRun) check(ctx context.Context, x *exchange) (again bool, err error) {
	b := r.belief
	hint := x.sock.kernelMTU()
	hinted := r.target.Occasion != "" || b.kernelMTU != 0 && hint != b.kernelMTU
	b.kernelMTU = hint
	state, err := x.verify(ctx, b.forward.mtu, b.back.mtu)
	if err != nil {
		return false, err
	}
	if state == checkupFine {
		r.verified = true
		if b.unsure > 0 && b.again() && b.limit.Allow() {
			return true, nil
		}
		if again, err = r.tryMore(ctx, x, hinted); err != nil || !again {
			return false, err
		}
	}
	if state == checkupLimited {
		r.postponed = true
		return false, nil
	}
	if !b.limit.Allow() {
		// It does not hold: as soon as may be, this is to be found out again.
		r.verified, r.postponed, b.toppedAt = false, true, time.Time{}
		return false, nil
	}
	return true, nil
}

// tryMore looks whether more than what is believed passes, or is refused aloud by now;
// again tells that a search is due.
func (r *pmtuRun) tryMore(ctx context.Context, x *exchange, hinted bool) (again bool, err error) {
	b := r.belief
	if silent, err := x.stillSilent(ctx, b.forward, b.back); err != nil || !silent {
		return true, err
	}
	if !hinted && time.Since(b.toppedAt) < topEvery {
		r.locateHole(ctx, x)
		return false, nil
	}
	b.toppedAt = time.Now()
	top, backTop, _ := r.tops(x)
	return x.larger(ctx, b.forward, b.back, top, backTop)
}

// tops are the largest sizes to try each way. Back it is that of both interfaces:
// what the reflector's takes and this one does not need not be asked for. known tells
// that this host's own is.
func (r *pmtuRun) tops(x *exchange) (forward, back int, known bool) {
	forward, known = r.ownTop(x)
	back = forward
	if x.peerMTU >= x.small() {
		back = min(back, x.peerMTU)
	}
	return forward, back, known
}

// locateHole names the hops around the hole forward: again while it is known but
// roughly, since routers answer no more than so often.
func (r *pmtuRun) locateHole(ctx context.Context, x *exchange) {
	f, l := &r.belief.forward, &r.belief.located
	if f.blackHole != holesYes || f.kind != kindExact {
		return
	}
	was := r.before.forward
	if was.blackHole == holesYes && was.mtu == f.mtu && !r.target.Fresh { // by hand, it is looked for at once
		f.by = was.by
	} else {
		*l = location{}
	}
	l.near = l.near && f.by != "" // TCP may have found it anew, and names no hops
	if l.near || l.tries >= locateTries || time.Since(l.at) < locateAgain {
		return
	}
	l.tries++
	l.at = time.Now()
	if by, near := r.locate(ctx, x, f.mtu); by != "" && (near || f.by == "") {
		f.by, l.near = by, near
	}
}
