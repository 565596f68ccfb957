package path

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func startTestReflector(t testing.TB) *reflector {
	t.Helper()
	r, err := startReflector(0, testSecret, new(reflectorCounts), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// asker sends packets to a reflector by hand.
type asker struct {
	t testing.TB
	s *socket
}

func newAsker(t testing.TB, r *reflector, ip string) *asker {
	t.Helper()
	s, err := dial(0, netip.AddrPortFrom(netip.MustParseAddr(ip), r.port()))
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { s.close() })
	return &asker{t, s}
}

func (a *asker) send(b []byte) {
	a.t.Helper()
	if _, err := a.s.send(b, netip.AddrPort{}, netip.Addr{}, 0); err != nil {
		a.t.Fatal(err)
	}
}

// reply is the next packet.
func (a *asker) reply() (reply, arrival) {
	a.t.Helper()
	buf := make([]byte, maxPayload)
	for {
		got, err := a.s.receive(buf, soon())
		if err != nil {
			a.t.Fatal(err)
		}
		if got.kind == arrivalPacket {
			r, err := parseReply(got.payload, testKey)
			if err != nil {
				a.t.Fatal(err)
			}
			return r, got
		}
	}
}

func TestReflector(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			a := newAsker(t, startTestReflector(t), ip)
			req := request{seq: 5, ssid: 6, sent: time.Now().Round(0), caller: testCaller, reply: 3000}
			a.send(req.appendTo(nil, testKey))
			small, got := a.reply()
			if small.seq != 5 || !small.stateless || small.ssid != 6 || small.askedSeq != 5 || !small.askedSent.Equal(req.sent) || small.askedTTL != 64 ||
				small.got != requestSize || small.mtu < 1280 || !small.small || small.size > requestSize {
				t.Errorf("got %+v", small)
			}
			if small.received.Before(req.sent) || small.sent.Before(small.received) || got.at.Before(small.sent) {
				t.Errorf("got times out of order: %v %v %v %v", req.sent, small.received, small.sent, got.at)
			}
			req.seq, req.size, req.cookie = 6, 500, small.cookie
			a.send(req.appendTo(nil, testKey))
			if large, _ := a.reply(); large.size != 3000 || large.small || large.got != 500 || large.seq != 0 || large.stateless {
				t.Errorf("got %+v, want 3000 bytes", large)
			}
		})
	}
}

// What is not a good request is not answered; the good one behind it is.
func TestReflectorIsSilent(t *testing.T) {
	r := startTestReflector(t)
	a := newAsker(t, r, "127.0.0.1")
	good := request{seq: 1, ssid: 2, sent: time.Now(), caller: testCaller, size: 300}
	other := good
	other.caller = callerID{9}
	packet := good.appendTo(nil, testKey)
	for _, b := range [][]byte{
		{},
		make([]byte, 44), make([]byte, 1400), make([]byte, maxPayload), packet[:299], packet[:requestSize], append(packet[:300:300], 0),
		other.appendTo(nil, testKey), good.appendTo(nil, testSecret), (&reply{size: 300}).appendTo(nil, testKey),
		packet, packet, packet,
	} {
		a.send(b)
	}
	if got, _ := a.reply(); got.askedSeq != 1 {
		t.Errorf("got %+v", got)
	}
	if got, err := a.s.receive(make([]byte, 2000), time.Now()); err == nil && got.kind == arrivalPacket {
		t.Errorf("got another answer: %+v", got)
	} else if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	good.seq = 2 // behind the repeats
	a.send(good.appendTo(nil, testKey))
	a.reply()
	want := map[string]uint64{
		"reflector_answered_packets": 2, "reflector_malformed_packets": 8, "reflector_wrong_key_packets": 2, "reflector_replayed_packets": 2,
		"reflector_limited_packets": 0, "reflector_icmp_lies": 0,
	}
	if got := r.counts.byName(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCookieIsOfOneAddress(t *testing.T) {
	r := startTestReflector(t)
	one, two := newAsker(t, r, "127.0.0.1"), newAsker(t, r, "127.0.0.1")
	req := request{ssid: 2, caller: testCaller}
	one.send(req.appendTo(nil, testKey))
	got, _ := one.reply()
	req.seq, req.cookie, req.reply = 1, got.cookie, 9000
	two.send(req.appendTo(nil, testKey))
	if got, _ := two.reply(); got.size > requestSize || !got.small {
		t.Errorf("got %d bytes for the cookie of another address", got.size)
	}
}

// Who sends recorded packets again, of many sessions, takes nothing from their caller.
func TestReplaysDoNotSilenceTheirCaller(t *testing.T) {
	r := startTestReflector(t)
	p, stranger := newTestPMTU(t, r), newAsker(t, r, "127.0.0.1")
	var recorded [][]byte
	for i := range uint16(17) {
		req := request{seq: 1, ssid: i, sent: time.Now(), caller: testCaller, cookie: cookie{1}}
		recorded = append(recorded, req.appendTo(nil, testKey))
	}
	over := make(chan struct{})
	var replaying sync.WaitGroup
	replaying.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
				_, _ = stranger.s.send(recorded[i%len(recorded)], netip.AddrPort{}, netip.Addr{}, 0)
				time.Sleep(time.Millisecond)
			}
		}
	})
	for range 4 {
		time.Sleep(500 * time.Millisecond)
		if _, err := p.Probe(t.Context(), sdk.Target{Host: "127.0.0.1"}); err != nil {
			t.Error(err)
		}
	}
	close(over)
	replaying.Wait()
	if r.counts.replayed.Load() == 0 || r.counts.limited.Load() != 0 {
		t.Errorf("got %d replayed, %d limited, want some and none", r.counts.replayed.Load(), r.counts.limited.Load())
	}
}
