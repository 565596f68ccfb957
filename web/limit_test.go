package web

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// passed counts how many of n requests of c get through at once.
func passed(th *throttle, cl class, method string, c caller, n int) (count int) {
	for range n {
		if th.wait(cl, method, c) == 0 {
			count++
		}
	}
	return count
}

func TestRates(t *testing.T) {
	at := netip.MustParseAddr
	peer := caller{ip: at("192.0.2.1"), key: core.KeyHash{1}, verified: true}
	for _, tt := range []struct {
		name        string
		class       class
		method      string
		caller      caller
		atOnce, ten int // in the first moment; in the ten seconds after
	}{
		{"anonymous", classWire, "GET", caller{ip: at("192.0.2.1")}, 10, 20},
		{"unknown key", classWire, "GET", caller{ip: at("192.0.2.1"), key: core.KeyHash{2}}, 10, 20},
		{"peer", classWire, "GET", peer, 50, 100},
		{"browser", classAPI, "GET", caller{ip: at("192.0.2.1")}, 60, 200},
		{"files", classFree, "GET", caller{ip: at("192.0.2.1")}, 1000, 10000},
		{"loopback reads", classWire, "GET", caller{ip: at("127.0.0.1")}, 1000, 10000},
		{"loopback reports", classWire, "POST", caller{ip: at("::1")}, 60, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				th := newThrottle(DefaultLimits())
				if got := passed(th, tt.class, tt.method, tt.caller, 1000); got != tt.atOnce {
					t.Errorf("at once: got %d, want %d", got, tt.atOnce)
				}
				later := 0
				for range 10 {
					time.Sleep(time.Second)
					later += passed(th, tt.class, tt.method, tt.caller, 1000)
				}
				if later != tt.ten {
					t.Errorf("in ten seconds: got %d, want %d", later, tt.ten)
				}
			})
		})
	}
}

func TestRatesAreOfNetworks(t *testing.T) {
	th := newThrottle(DefaultLimits())
	ask := func(ip string) int {
		return passed(th, classWire, "GET", caller{ip: netip.MustParseAddr(ip)}, 100)
	}
	for ip, want := range map[string]int{"192.0.2.1": 10, "192.0.2.2": 10, "2001:db8::1": 10} {
		if got := ask(ip); got != want {
			t.Errorf("%s: got %d, want %d", ip, got, want)
		}
	}
	if got := ask("2001:db8::ffff:2"); got != 0 {
		t.Errorf("another address of the same /64: got %d, want 0", got)
	}
}

// TestManyCallersShareWhatIsLeft: memory stays bounded, old callers keep theirs.
func TestManyCallersShareWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(Rate{1, 2})
		for i := range 3 * maxMetered {
			m.take(strconv.Itoa(i))
		}
		if len(m.buckets) > maxMetered+1 {
			t.Errorf("got %d buckets, want at most %d", len(m.buckets), maxMetered+1)
		}
		if m.take("0") != 0 {
			t.Error("a known caller lost its tokens")
		}
		if m.take("new") == 0 {
			t.Error("newcomers are not limited")
		}
		time.Sleep(time.Minute)
		if m.take("new") != 0 || len(m.buckets) > 2 {
			t.Errorf("after a minute: got %d buckets, want the old ones gone", len(m.buckets))
		}
	})
}

func TestTooManyRequests(t *testing.T) {
	s := newServer(twoNodes(testSelf.ID), &core.Hub{})
	var last answer
	for range 11 {
		last = serve(s.Handler(), "192.0.2.9:1000", "GET", "/nodeinfo", "")
	}
	if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") != "1" {
		t.Errorf("got %d, Retry-After %q, want 429 and 1", last.status, last.header.Get("Retry-After"))
	}
	if a := serve(s.Handler(), "192.0.2.9:1000", "GET", "/dashboard", ""); a.status != http.StatusOK {
		t.Errorf("dashboard: got %d, want 200", a.status)
	}
}

// conns is a listener whose connections come from given addresses.
type conns struct {
	net.Listener
	from []string
}

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

func (c *conns) Accept() (net.Conn, error) {
	if len(c.from) == 0 {
		return nil, net.ErrClosed
	}
	ip := net.ParseIP(c.from[0])
	c.from = c.from[1:]
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	return addressed{ours, &net.TCPAddr{IP: ip, Port: 1000}}, nil
}

func repeat(ip string, n int) (out []string) {
	for range n {
		out = append(out, ip)
	}
	return out
}

func TestConnectionLimits(t *testing.T) {
	accept := func(ln *limitListener) (open []net.Conn) {
		for {
			c, err := ln.Accept()
			if err != nil {
				return open
			}
			open = append(open, c)
		}
	}
	from := &conns{}
	ln := newLimitListener(from, 10, 3)
	from.from = repeat("192.0.2.1", 5)
	first := accept(ln)
	if len(first) != 3 {
		t.Errorf("one address: got %d, want 3", len(first))
	}
	from.from = repeat("127.0.0.1", 20)
	if got := len(accept(ln)); got != 7 {
		t.Errorf("loopback: got %d, want the 7 that are left", got)
	}
	_ = first[0].Close()
	_ = first[0].Close() // twice counts once
	from.from = repeat("192.0.2.2", 5)
	if got := len(accept(ln)); got != 1 {
		t.Errorf("after one was closed: got %d, want 1", got)
	}
}
