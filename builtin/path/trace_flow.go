package path

import (
	"context"
	"net/netip"
	"time"
)

// The protocols of a trace's flows.
const (
	protocolUDP = "udp"
	protocolTCP = "tcp"
)

// maxBlocked is how long a walk waits at most before it looks whether anybody
// still waits for it; below sdk.Grace.
const maxBlocked = 150 * time.Millisecond

// flowSocket sends the probes of one flow: same addresses, same ports.
type flowSocket interface {
	send(seq, ttl int) error
	// receive waits for answers, until then at the latest.
	receive(until time.Time) ([]answer, error)
	ends() (source, destination netip.AddrPort)
	close()
}

// flow is what the walk of one flow found.
type flow struct {
	protocol            string
	source, destination netip.AddrPort
	hops                []walkHop
	reached             bool
	refusedBy           netip.Addr // a router that lets nothing pass
	probes              int
	took                time.Duration
}

// follow walks along s until the walk is over or ctx ends; what it has found by
// then is kept.
func follow(ctx context.Context, protocol string, s flowSocket, o walkOptions) (flow, error) {
	defer s.close()
	w, began := newHopWalk(o), time.Now()
	err := w.drive(ctx, s, began)
	f := flow{protocol: protocol, hops: w.found(), probes: len(w.sent), took: time.Since(began)}
	f.source, f.destination = s.ends()
	switch {
	case w.end == 0:
	case w.endKind == answerRefused:
		f.refusedBy = w.refuser
	default:
		f.reached = true
	}
	return f, err
}

func (w *hopWalk) drive(ctx context.Context, s flowSocket, began time.Time) error {
	for ctx.Err() == nil {
		for {
			seq, ttl, ok := w.next(time.Since(began))
			if !ok {
				break
			}
			if err := s.send(seq, ttl); err != nil {
				if isLocal(err) {
					return err
				}
				w.failed(seq)
			}
		}
		at, done := w.wake(time.Since(began))
		if done {
			return nil
		}
		until := began.Add(at)
		if soon := time.Now().Add(maxBlocked); soon.Before(until) {
			until = soon
		}
		answers, err := s.receive(until)
		if err != nil {
			return err
		}
		now := time.Since(began)
		for _, a := range answers {
			w.answer(a, now)
		}
	}
	return nil
}
