package https

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func wantReused(t *testing.T, r sdk.Result, want string) {
	t.Helper()
	if got := r.Attributes["reused"]; got != want {
		t.Errorf("reused: got %q, want %q", got, want)
	}
}

func kept(p *pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

func TestKeepAlive(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	wantReused(t, poll(t, p, n.target), "false")
	r := poll(t, p, n.target)
	wantReused(t, r, "true")
	wantStages(t, r, stageTTFB, stageTotal)
	if r.RTT <= 0 {
		t.Errorf("RTT over a kept connection: got %v", r.RTT)
	}
	fresh := n.target
	fresh.Fresh = true
	wantReused(t, poll(t, p, fresh), "false")
	wantReused(t, poll(t, p, n.target), "true")
	pinned := n.target
	pinned.SPKI = n.key[:]
	wantReused(t, poll(t, p, pinned), "true")
	if got := n.dialled.Load(); got != 2 {
		t.Errorf("connections: got %d, want 2", got)
	}
}

func TestKeepAliveBound(t *testing.T) {
	c := defaults()
	c.KeepAlive = 2
	p := newProber(t, c, sdk.Env{})
	var nodes []*node
	for range 4 {
		nodes = append(nodes, serve(t, ok))
	}
	for range 3 {
		for _, n := range nodes {
			poll(t, p, n.target)
		}
	}
	for i, want := range []int64{1, 1, 3, 3} {
		if got := nodes[i].dialled.Load(); got != want {
			t.Errorf("node %d: got %d connections, want %d", i, got, want)
		}
	}
	if got := kept(p.pool); got != 2 {
		t.Errorf("kept: got %d, want 2", got)
	}
}

func TestKeepAliveOff(t *testing.T) {
	c := defaults()
	c.KeepAlive = 0
	p := newProber(t, c, sdk.Env{})
	n := serve(t, ok)
	poll(t, p, n.target)
	wantReused(t, poll(t, p, n.target), "false")
}

// A pin that the kept connection does not match needs a new handshake, which
// then tells the mismatch.
func TestKeptConnectionOfAnotherKey(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	poll(t, p, n.target)
	n.target.SPKI = make([]byte, 32)
	_, err := p.Probe(within(t, 5*time.Second), n.target)
	if sdk.ReasonOf(err) != sdk.ReasonIdentity || n.polled.Load() != 1 {
		t.Errorf("got %v after %d polls, want identity after 1", err, n.polled.Load())
	}
}

func TestNotKept(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"the peer closes": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			ok(w, r)
		},
		"the poll failed": answer("{}"),
		"another node":    answer(strings.Replace(body("", ""), peerID[:8], "11111111", 1)),
	} {
		t.Run(name, func(t *testing.T) {
			n := serve(t, h)
			p := newProber(t, defaults(), sdk.Env{})
			n.target.NodeID = peerID
			for range 2 {
				r, _ := p.Probe(within(t, 5*time.Second), n.target)
				wantReused(t, r, "false")
				if got := r.Attributes["kept_connection"]; got != "" {
					t.Errorf("a connection was kept: it %s", got)
				}
			}
			if got := n.dialled.Load(); got != 2 {
				t.Errorf("connections: got %d, want 2", got)
			}
		})
	}
}

// An answer that nobody asked for must not become the answer to the next poll.
func TestAnswerBehindTheAnswer(t *testing.T) {
	both := whole(body("", ""), "") + whole(body(`"version":"forged"`, ""), "")
	p := newProber(t, defaults(), sdk.Env{})
	target := raw(t, func(c *tls.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, both)
		_, _ = io.Copy(io.Discard, c)
	})
	for range 2 {
		r := poll(t, p, target)
		wantReused(t, r, "false")
		if got := r.Learned.Identity.Version; got != "" {
			t.Errorf("version: got %q, want none", got)
		}
	}
}

func TestDeadConnectionIsNotThePeersFault(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	poll(t, p, n.target)
	n.server.CloseClientConnections()
	r := poll(t, p, n.target)
	wantReused(t, r, "false")
	wantStages(t, r, stageConnect, stageTLS, stageTTFB, stageTotal)
	if got := r.Attributes["kept_connection"]; got != "was dead" {
		t.Errorf("kept_connection: got %q", got)
	}
}

// A middlebox has forgotten the connection: the request gets no answer at all.
func TestSilentConnectionIsNotThePeersFault(t *testing.T) {
	hang := make(chan struct{})
	var calls atomic.Int64
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 2 {
			<-hang
		}
		ok(w, r)
	})
	t.Cleanup(func() { close(hang) })
	p := newProber(t, defaults(), sdk.Env{})
	poll(t, p, n.target)
	r, err := p.Probe(within(t, time.Second), n.target)
	if err != nil {
		t.Fatal(err)
	}
	wantReused(t, r, "false")
}

// With the peer gone for good, the new connection's failure is the result.
func TestDeadConnectionOfADeadPeer(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	poll(t, p, n.target)
	n.server.Close()
	_, err := p.Probe(within(t, 5*time.Second), n.target)
	if sdk.ReasonOf(err) != sdk.ReasonRefused {
		t.Errorf("got %v, want refused", err)
	}
}

func TestOldConnectionIsReplaced(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	addr := poll(t, p, n.target).Attributes["remote_address"]
	c := p.pool.take(addr)
	c.dialled = c.dialled.Add(-maxAge)
	p.pool.put(addr, c)
	wantReused(t, poll(t, p, n.target), "false")
	wantReused(t, poll(t, p, n.target), "true")
}

func TestClose(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	poll(t, p, n.target)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	wantReused(t, poll(t, p, n.target), "false") // a run in flight while the instance is replaced
	if got := kept(p.pool); got != 0 {
		t.Errorf("kept after Close: got %d, want 0", got)
	}
}

// idleConn is a connection fit for the pool's tests.
func idleConn(t *testing.T) (c *conn, far net.Conn) {
	t.Helper()
	l := listen(t, "127.0.0.1")
	defer func() { _ = l.Close() }()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return &conn{raw: near.(*net.TCPConn)}, far
}

func TestIdleTimeout(t *testing.T) {
	c, far := idleConn(t)
	synctest.Test(t, func(t *testing.T) {
		p := newPool(1)
		p.put("a", c)
		time.Sleep(idleTimeout - time.Second)
		if p.take("a") != c {
			t.Fatal("gone too early")
		}
		time.Sleep(2 * time.Second)
		p.put("a", c)
		time.Sleep(idleTimeout - time.Second)
		if kept(p) != 1 {
			t.Fatal("the time in use counts as idle")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if p.take("a") != nil {
			t.Error("kept for longer than idleTimeout")
		}
	})
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("far end: got %v, want EOF", err)
	}
}

func TestTLS12(t *testing.T) {
	n := serve(t, ok, func(s *httptest.Server) { s.TLS.MaxVersion = tls.VersionTLS12 })
	p := newProber(t, defaults(), sdk.Env{})
	if got := poll(t, p, n.target).Attributes["tls_version"]; got != "1.2" {
		t.Errorf("tls_version: got %q, want 1.2", got)
	}
	wantReused(t, poll(t, p, n.target), "true")
}
