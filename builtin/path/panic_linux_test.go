package path

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
)

// Whatever goroutine of a run panics, that run is an error of the plugin, and the
// process, which polls all peers too, lives on.
func TestPanicsCostTheirRun(t *testing.T) {
	pmtu := func(change func(*pmtuProber)) func(testing.TB) sdk.Prober {
		return func(t testing.TB) sdk.Prober {
			p := newTestPMTU(t, nil)
			p.c.TCP = true
			p.reflector = func(sdk.Target) (reflectorAt, bool) { return reflectorAt{}, false }
			p.climb = func(context.Context, netip.AddrPort, []int) (climb, error) {
				return climb{passed: 1280, limit: 1280}, nil
			}
			p.haul = func(context.Context, netip.AddrPort, int) (haul, error) { return haul{}, errSilent }
			change(p)
			return p
		}
	}
	silent := func(p *pmtuProber) {
		p.reflector = func(sdk.Target) (reflectorAt, bool) { return reflectorAt{9, testKey}, true }
	}
	var climbs atomic.Int64
	for name, prober := range map[string]func(testing.TB) sdk.Prober{
		"haul": pmtu(func(p *pmtuProber) {
			p.haul = func(context.Context, netip.AddrPort, int) (haul, error) { panic("boom") }
		}),
		"ladder": pmtu(func(p *pmtuProber) {
			p.climb = func(_ context.Context, _ netip.AddrPort, sizes []int) (climb, error) {
				if climbs.Add(1); len(sizes) == 2 && sizes[0]+1 == sizes[1] {
					panic("boom")
				}
				return climb{passed: 1300, stalled: 1301, limit: 1500, pmtu: 1500}, nil
			}
		}),
		"ladder beside UDP": pmtu(func(p *pmtuProber) {
			silent(p)
			p.climb = func(context.Context, netip.AddrPort, []int) (climb, error) { panic("boom") }
		}),
		"walks": func(t testing.TB) sdk.Prober {
			p := newTestTrace(t, sdk.Env{})
			p.budget = nil
			p.reflector = func(sdk.Target) (reflectorAt, bool) { panic("boom") }
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := prober(t)
			part := sdk.NewProbe("one", "1.0.0", func(struct{}, sdk.Env) (sdk.Prober, error) { return p, nil })
			h := plugintest.Start(t, part, plugintest.Options{})
			h.Configure("one", "one", nil)
			a := h.Run("one", sdk.Target{Host: "127.0.0.1", Port: 1})
			if a.Outcome != sdk.OutcomePluginError || a.Reason != sdk.ReasonInternal || a.Message != "panic: boom" {
				t.Errorf("got %v %v %q, want an error of the plugin", a.Outcome, a.Reason, a.Message)
			}
		})
	}
}

// One train that panics costs no other.
func TestPanicInThePacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{delay: time.Millisecond, lose: func(seq uint32) bool {
			if seq == 5 {
				panic("boom")
			}
			return false
		}}
		s := newTestStamp(t, n)
		var said bytes.Buffer
		s.pacer.log = hclog.New(&hclog.LoggerOptions{Output: &said})
		r, err := s.Probe(t.Context(), sdk.Target{Host: "192.0.2.1"})
		if fmt.Sprint(err) != "<nil>" || r.Attributes["loss"] != "1/6" || !strings.Contains(said.String(), "panic=boom") {
			t.Errorf("got %v, %v, logged %q, want what was answered so far", r.Attributes, err, said.String())
		}
		n.lose = nil
		if r, err := s.Probe(t.Context(), sdk.Target{Host: "192.0.2.1"}); err != nil || r.Attributes["loss"] != "0/20" {
			t.Errorf("got %v, %v after the panic", r.Attributes, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestPanicInTheReflectorsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := make(chan string, 1)
		log := hclog.New(&hclog.LoggerOptions{Output: writerFunc(func(b []byte) { said <- string(b) })})
		l := &listening{log: log, quit: make(chan struct{})}
		l.trying.Go(l.keepTrying) // with nothing to start
		if got := <-said; !strings.Contains(got, "panic") {
			t.Errorf("logged %q, want the panic", got)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}
