package path

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// fakeNet is the sockets of a pacer, and reflectors behind them that know testSecret.
type fakeNet struct {
	lose   func(seq uint32) bool // on the way there
	refuse bool                  // port unreachable instead of answers
	fail   error                 // of sending
	delay  time.Duration         // each way

	mu     sync.Mutex // guards below
	sends  []time.Time
	counts map[flightKey]uint32
	opened int
}

type fakeSocket struct {
	net    *fakeNet
	in     chan arrival
	closed chan struct{}
	id     uint32
}

func (n *fakeNet) open(bool) (datagrams, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opened++
	return &fakeSocket{net: n, in: make(chan arrival, 4096), closed: make(chan struct{})}, nil
}

func (s *fakeSocket) close() error {
	close(s.closed)
	return nil
}

func (s *fakeSocket) receive([]byte, time.Time) (arrival, error) {
	select {
	case a := <-s.in:
		a.user = time.Now()
		return a, nil
	case <-s.closed:
		return arrival{}, net.ErrClosed
	}
}

func (s *fakeSocket) send(payload []byte, to netip.AddrPort, _ netip.Addr, _ int) (uint32, error) {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != nil {
		return 0, n.fail
	}
	now := time.Now()
	n.sends = append(n.sends, now)
	id := s.id
	s.id++
	s.in <- arrival{kind: arrivalSent, id: id, at: now}
	req, tag, err := parseRequest(payload)
	if err != nil || !tag.check(callerKey(testSecret, req.caller)) || n.lose != nil && n.lose(req.seq) {
		return id, nil
	}
	if n.refuse {
		quote := append([]byte(nil), payload...)
		s.in <- arrival{kind: arrivalError, payload: quote, from: to, icmp: icmpError{what: icmpPort, router: to.Addr()}}
		return id, nil
	}
	key := flightKey{to, req.ssid}
	if n.counts == nil {
		n.counts = map[flightKey]uint32{}
	}
	there := now.Add(n.delay)
	r := reply{seq: n.counts[key], ssid: req.ssid, received: there, sent: there, askedSeq: req.seq, size: len(payload)}
	n.counts[key]++
	b := r.appendTo(nil, callerKey(testSecret, req.caller))
	time.AfterFunc(2*n.delay, func() { s.in <- arrival{kind: arrivalPacket, payload: b, from: to, at: time.Now()} })
	return id, nil
}

// newTestStamp is the probe, with every target's reflector at port 9.
func newTestStamp(t testing.TB, n *fakeNet) *stamper {
	t.Helper()
	var c StampConfig
	c.SetDefaults()
	p, err := newStamp(c, sdk.Env{Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	s := p.(*stamper)
	s.caller = testCaller
	s.reflector = func(sdk.Target) (reflectorAt, bool) { return reflectorAt{9, testKey}, true }
	if n != nil {
		s.pacer.open = n.open
	}
	return s
}

func TestStamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{delay: 10 * time.Millisecond, lose: func(seq uint32) bool { return seq == 3 || seq >= 18 && seq < 21 }}
		s := newTestStamp(t, n)
		r, err := s.Probe(t.Context(), sdk.Target{Host: "192.0.2.1"})
		if err != nil {
			t.Fatal(err)
		}
		// Two of the last and the first closer are lost; the second finds out where.
		if got := r.Attributes["loss_forward"]; got != "4/22" || r.Attributes["loss_backward"] != "0/18" {
			t.Errorf("got %v", r.Attributes)
		}
		if r.RTT != 20*time.Millisecond || metric(r, "rtt_min_seconds") != 0.02 || metric(r, "jitter_forward_seconds") != 0 {
			t.Errorf("got RTT %v, %v", r.RTT, r.Metrics)
		}
		for i, at := range n.sends[2:20] {
			if d := at.Sub(n.sends[i+1]); d != 20*time.Millisecond {
				t.Errorf("packet %d came %v after the one before, want 20ms", i+2, d)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestStampManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{delay: 5 * time.Millisecond}
		s := newTestStamp(t, n)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 37 * time.Microsecond)
				r, err := s.Probe(t.Context(), sdk.Target{Host: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String()})
				if err != nil || r.Attributes["loss"] != "0/20" {
					t.Errorf("got %v, %v", r.Attributes, err)
				}
			})
		}
		wg.Wait()
		moments := map[time.Time]bool{}
		for _, at := range n.sends {
			moments[at] = true
		}
		// The first packets go out at once, the others together.
		if len(n.sends) != 4000 || len(moments) > 200+2*20 || n.opened != 1 {
			t.Errorf("got %d packets at %d moments by %d sockets, want 4000 at 240 by one", len(n.sends), len(moments), n.opened)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestStampFailures(t *testing.T) {
	tests := []struct {
		name string
		net  *fakeNet
		want sdk.Reason
	}{
		{"silence", &fakeNet{lose: func(uint32) bool { return true }}, sdk.ReasonTimeout},
		{"no reflector", &fakeNet{refuse: true}, sdk.ReasonRefused},
		{"no way", &fakeNet{fail: os.NewSyscallError("sendmsg", syscall.ENETUNREACH)}, sdk.ReasonUnreachable},
		{"not allowed", &fakeNet{fail: os.NewSyscallError("sendmsg", syscall.EPERM)}, sdk.ReasonPermission},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestStamp(t, tt.net)
				defer s.Close()
				_, err := s.Probe(t.Context(), sdk.Target{Host: "192.0.2.1"})
				if _, got := sdk.Judge(err); got != tt.want {
					t.Errorf("got %v, %v, want %v", got, err, tt.want)
				}
			})
		})
	}
}

func TestStampEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestStamp(t, &fakeNet{delay: time.Millisecond})
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Millisecond)
		defer cancel()
		r, err := s.Probe(ctx, sdk.Target{Host: "2001:db8::1"})
		if err != nil || r.Attributes["loss"] != "0/5" {
			t.Errorf("got %v, %v, want the 5 packets so far", r.Attributes, err)
		}
		if len(s.pacer.flights) != 0 {
			t.Error("the train goes on")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Probe(t.Context(), sdk.Target{Host: "192.0.2.1"}); err == nil {
			t.Error("got a result after Close")
		}
	})
}

func TestStampWithoutReflector(t *testing.T) {
	s := newTestStamp(t, &fakeNet{})
	s.reflector = func(sdk.Target) (reflectorAt, bool) { return reflectorAt{}, false }
	_, err := s.Probe(t.Context(), sdk.Target{Host: "192.0.2.1"})
	if o, _ := sdk.Judge(err); o != sdk.OutcomeUnsupported {
		t.Errorf("got %v, want unsupported", err)
	}
}

// What strangers send to the socket, with the number of a session they have seen or
// guessed, changes nothing.
func TestStampIgnoresStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{delay: time.Hour} // no answer of the peer's own
		s := newTestStamp(t, n)
		defer s.Close()
		done := make(chan error)
		go func() {
			_, err := s.Probe(t.Context(), sdk.Target{Host: "192.0.2.1"})
			done <- err
		}()
		time.Sleep(100 * time.Millisecond)
		s.pacer.mu.Lock()
		var f *flight
		for _, f = range s.pacer.flights {
		}
		socket := s.pacer.sockets[0].datagrams.(*fakeSocket)
		s.pacer.mu.Unlock()
		good := reply{ssid: f.ssid, askedSeq: 1, size: requestSize}
		for _, a := range []arrival{
			{payload: good.appendTo(nil, testSecret), from: f.peer},
			{payload: good.appendTo(nil, testKey), from: netip.MustParseAddrPort("192.0.2.2:9")},
			{payload: good.appendTo(nil, testKey)[:90], from: f.peer},
			{payload: good.appendTo(nil, testKey), from: f.peer, cut: true},
			{payload: nil, from: f.peer},
		} {
			a.kind = arrivalPacket
			socket.in <- a
		}
		if err := <-done; !isTimeout(err) {
			t.Errorf("got %v, want no answer", err)
		}
	})
}

func isTimeout(err error) bool {
	_, r := sdk.Judge(err)
	return err != nil && r == sdk.ReasonTimeout && !errors.Is(err, context.DeadlineExceeded)
}
