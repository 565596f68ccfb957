package path

import (
	"context"
	"net/netip"
	"time"
)

const (
	// verifyTries is how often a size must fail while small packets pass, before the
	// path is taken to have changed, and verifyPause how far apart.
	verifyTries = 3
	verifyPause = time.Second
)

// trial is a lane that tests whether some sizes still pass.
type trial struct {
	want    int  // the largest to pass
	passed  int  // the largest that passed
	claimed bool // a host on the way or at its ends has refused a packet
}

func (t *trial) echo(size int) { t.passed = max(t.passed, size) }

func (t *trial) claim(_, mtu int, _ netip.Addr, proven bool) {
	t.claimed = t.claimed || proven && mtu < t.want
}

func (t *trial) unsendable(int, int) { t.claimed = true }
func (t *trial) settled() bool       { return t.passed >= t.want }
func (t *trial) waitsOut() bool      { return false }
func (t *trial) fine() bool          { return t.want == 0 || t.settled() }

// checkup is what became of a verification.
type checkup uint8

const (
	checkupFine    checkup = iota
	checkupChanged         // a size that passed does not, while small packets do
	checkupSilent          // nothing passes
	checkupLimited         // the reflector answers no more for now
)

// verify looks whether packets of both sizes still pass, with three packets if they
// do. 0 is not to be tested.
func (x *exchange) verify(ctx context.Context, forward, back int) (checkup, error) {
	f, b := &trial{want: forward}, &trial{want: back}
	x.forward, x.back = f, b
	heard, throttled := false, false
	for try := range verifyTries {
		if try > 0 {
			if err := pause(ctx, verifyPause); err != nil {
				return checkupSilent, err
			}
		}
		if err := x.ask(ctx, sizesOf(x.small(), f), sizesOf(x.small(), b)); err != nil {
			return checkupSilent, err
		}
		heard, throttled = heard || f.passed > 0 || b.passed > 0, throttled || x.throttled
		switch {
		case f.fine() && b.fine():
			return checkupFine, nil
		case heard && (f.claimed && !f.fine() || b.claimed && !b.fine()):
			return checkupChanged, nil
		}
	}
	switch {
	case throttled:
		return checkupLimited, nil
	case heard:
		return checkupChanged, nil
	}
	return checkupSilent, nil
}

func sizesOf(small int, t *trial) []int {
	if t.fine() {
		return []int{small}
	}
	return []int{small, t.want} // in this order the small one tells the RTT, too
}

// larger looks whether more passes than is believed, in either direction: all that
// the interface takes, or a byte more.
func (x *exchange) larger(ctx context.Context, forward, back pmtu, top, backTop int) (bool, error) {
	f, b := &trial{want: top}, &trial{want: backTop}
	x.forward, x.back = f, b
	sizes := func(p pmtu, top int) []int {
		if p.mtu >= top {
			return []int{x.small()}
		}
		list := []int{top}
		if p.mtu > 0 && p.mtu+1 < top {
			list = append(list, p.mtu+1)
		}
		return append(list, x.small())
	}
	err := x.ask(ctx, sizes(forward, top), sizes(back, backTop))
	return f.passed > forward.mtu || b.passed > back.mtu, err
}

// stillSilent looks whether a byte more than passes vanishes, in directions with a
// black hole: as before, without a word. Only so is its end seen when the MTU stays.
func (x *exchange) stillSilent(ctx context.Context, forward, back pmtu) (bool, error) {
	above := func(p pmtu) *trial {
		if p.blackHole == holesYes {
			return &trial{want: p.mtu + 1}
		}
		return new(trial)
	}
	f, b := above(forward), above(back)
	if f.want == 0 && b.want == 0 {
		return true, nil
	}
	x.forward, x.back = f, b
	err := x.ask(ctx, sizesOf(x.small(), f), sizesOf(x.small(), b))
	gone := func(t *trial) bool { return t.want > 0 && (t.settled() || t.claimed) }
	return !gone(f) && !gone(b), err
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
