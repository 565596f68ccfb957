package path

import (
	"context"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// deafSocket cannot be read at first.
type deafSocket struct {
	datagrams
	times int
}

func (s *deafSocket) receive(buf []byte, until time.Time) (arrival, error) {
	if s.times > 0 {
		s.times--
		return arrival{}, syscall.ENOMEM
	}
	return s.datagrams.receive(buf, until)
}

func TestErrorsOfReadingPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{delay: time.Millisecond}
		s := newTestStamp(t, n)
		s.pacer.open = func(v6 bool) (datagrams, error) {
			d, err := n.open(v6)
			return &deafSocket{d, 3}, err
		}
		if r, err := s.Probe(t.Context(), sdk.Target{Host: "192.0.2.1"}); err != nil || r.Attributes["loss"] != "0/20" {
			t.Errorf("got %v, %v, want all answers", r.Attributes, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Who waits for another trace of the same address says nothing about the target.
func TestAnotherTraceIsNoFailure(t *testing.T) {
	p := &tracer{busy: map[netip.Addr]chan struct{}{testAddr.Addr(): make(chan struct{})}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.claim(ctx, testAddr.Addr())
	if o, _ := sdk.Judge(err); o != sdk.OutcomeUnsupported || !strings.Contains(err.Error(), "another trace") {
		t.Errorf("got %v, %v, want unsupported", o, err)
	}
}

// Who waits for another run towards the same target waits no longer than it may.
func TestAnotherRunIsWaitedForInTime(t *testing.T) {
	p := newPMTU(PMTUConfig{}, sdk.Env{})
	p.beliefOf(netip.AddrPortFrom(testAddr.Addr(), defaultTCPPort)).turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Probe(ctx, sdk.Target{Host: testAddr.Addr().String()})
	if o, _ := sdk.Judge(err); o != sdk.OutcomeUnsupported || !strings.Contains(err.Error(), "another run") {
		t.Errorf("got %v, %v, want unsupported", o, err)
	}
}
