package https

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// hole is a listener behind a black hole: a connection is made, and nothing comes
// through it unless its segments are small.
type hole struct{ net.Listener }

func (h hole) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil || segmentOf(c.(*net.TCPConn)) <= 536 { // what an IPv4 path of 576 bytes takes
		return c, err
	}
	return swallowed{c}, nil
}

// swallowed takes what comes and says nothing.
type swallowed struct{ net.Conn }

func (s swallowed) Read([]byte) (int, error) {
	_, err := io.Copy(io.Discard, s.Conn)
	if err == nil {
		err = io.EOF
	}
	return 0, err
}

func segmentOf(c *net.TCPConn) (n int) {
	rc, err := c.SyscallConn()
	if err == nil {
		_ = rc.Control(func(fd uintptr) { n, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) })
	}
	return n
}

func behindHole(s *httptest.Server) { s.Listener = hole{s.Listener} }

// A peer behind a black hole is alive. It is one only if segments were missing: a
// peer may be slow once.
func TestBlackHole(t *testing.T) {
	for name, missing := range map[string]bool{"segments missing": true, "slow": false} {
		t.Run(name, func(t *testing.T) {
			n := serve(t, ok, behindHole)
			p := newProber(t, defaults(), sdk.Env{})
			p.missing = func(*net.TCPConn) bool { return missing }
			for range 2 { // the second on the kept connection
				r, err := p.Probe(within(t, 2*time.Second), n.target)
				if err != nil {
					t.Fatal(err)
				}
				if got := r.Attributes["segments"]; got != "small" {
					t.Errorf("segments: got %q", got)
				}
				if found := len(r.Findings) == 1 && r.Findings[0].Kind == findingBlackHole; found != missing {
					t.Errorf("findings: got %v", r.Findings)
				}
			}
			if got := n.dialled.Load(); got != 2 {
				t.Errorf("got %d connections, want 2", got)
			}
		})
	}
}

// A peer that takes connections and says nothing is not alive, and the message
// is about what it did first.
func TestHungPeer(t *testing.T) {
	to := plain(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	p := newProber(t, defaults(), sdk.Env{})
	r, err := p.Probe(within(t, time.Second), to)
	if sdk.ReasonOf(err) != sdk.ReasonTimeout || len(r.Findings) > 0 || r.Attributes["segments"] != "" {
		t.Errorf("got %v, %+v", err, r)
	}
	wantStages(t, r, stageConnect, stageTotal)
}

// What comes over the kernel's loopback is not missed.
func TestNothingMissing(t *testing.T) {
	quiet := make(chan struct{})
	n := serve(t, func(w http.ResponseWriter, r *http.Request) { <-quiet })
	defer close(quiet)
	c, err := tls.Dial("tcp", n.server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if missesSegments(c.NetConn().(*net.TCPConn)) {
		t.Error("segments are missing on loopback")
	}
}
