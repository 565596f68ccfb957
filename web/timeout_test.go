package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// pipes is a listener on which a test dials in memory, so that the clock of
// synctest drives the server's timeouts.
type pipes struct {
	calls  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.calls <- theirs
	return ours
}

// timed runs a server without TLS in a bubble.
func timed(t *testing.T, run func(t *testing.T, p pipes, hub *core.Hub, f *fakes)) {
	synctest.Test(t, func(t *testing.T) {
		hub, f := &core.Hub{}, twoNodes(testSelf.ID)
		srv := newServer(f, hub).httpServer()
		p := pipes{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(p) }()
		run(t, p, hub, f)
		_ = srv.Close()
		<-ended
		time.Sleep(time.Minute) // lets connections that are being closed end
	})
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	timed(t, func(t *testing.T, p pipes, _ *core.Hub, _ *fakes) {
		c := p.dial()
		began := time.Now()
		go func() {
			for _, b := range []byte("GET /nodeinfo HTTP/1.1\r\nHost: localhost\r\n\r\n") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(began); took > headerTimeout+2*time.Second {
			t.Errorf("got cut off after %s, want about %s", took, headerTimeout)
		}
	})
}

func TestSlowBodiesAreCutOff(t *testing.T) {
	timed(t, func(t *testing.T, p pipes, _ *core.Hub, f *fakes) {
		c := p.dial()
		began := time.Now()
		go func() {
			_, _ = fmt.Fprintf(c, "POST /report HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(original))
			for _, b := range []byte(original) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); res.StatusCode != http.StatusBadRequest || took > DefaultLimits().BodyTimeout+2*time.Second {
			t.Errorf("got %d after %s, want 400 after %s", res.StatusCode, took, DefaultLimits().BodyTimeout)
		}
		_ = c.Close()
		if len(f.reports) != 0 {
			t.Error("something was stored")
		}
	})
}

func TestLargeHeadersAreRefused(t *testing.T) {
	timed(t, func(t *testing.T, p pipes, _ *core.Hub, _ *fakes) {
		c := p.dial()
		go func() {
			_, _ = io.WriteString(c, "GET /nodeinfo HTTP/1.1\r\nHost: localhost\r\nNodeProbe-Advertise: "+strings.Repeat("a", 70<<10)+"\r\n\r\n")
		}()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("got %d, want 431", res.StatusCode)
		}
		_ = c.Close()
	})
}

// TestStreamOutlivesTheTimeouts: an hour without a change, heartbeats only, then
// a change. And a browser that takes nothing is cut off.
func TestStreamOutlivesTheTimeouts(t *testing.T) {
	timed(t, func(t *testing.T, p pipes, hub *core.Hub, _ *fakes) {
		c := p.dial()
		lines := make(chan string, 10_000)
		go func() {
			defer close(lines)
			_, _ = io.WriteString(c, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
			for s := bufio.NewScanner(c); s.Scan(); {
				lines <- s.Text()
			}
		}()
		time.Sleep(time.Hour)
		hub.Publish(core.Change{Kind: ChangeEvent, Payload: core.Event{ID: 77}})
		time.Sleep(time.Second)
		_ = c.Close()
		beats, last := 0, false
		for line := range lines {
			beats += btoi(line == ": heartbeat")
			last = last || strings.Contains(line, `"id":77,`)
		}
		if want := int(time.Hour / heartbeat); beats < want-1 || beats > want || !last {
			t.Errorf("got %d heartbeats and the change: %t; want %d and true", beats, last, want)
		}
	})
	timed(t, func(t *testing.T, p pipes, _ *core.Hub, _ *fakes) {
		c := p.dial()
		_, _ = io.WriteString(c, "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
		time.Sleep(time.Minute)
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("got %v, want the connection closed", err)
		}
	})
}

func TestServeTellsWhyItCannot(t *testing.T) {
	p := pipes{make(chan net.Conn), make(chan struct{})}
	_ = p.Close()
	cert, _ := certificate(t)
	err := newServer(&fakes{}, nil).Serve(context.Background(), p, tlsConfig(cert))
	if err == nil || !strings.Contains(err.Error(), "serve: ") {
		t.Errorf("got %v, want the listener's error", err)
	}
}

// TestBodiesOfReadsAreNotWaitedFor: a GET that announces a body and never sends
// it has its answer, which takes memory until then, at once.
func TestBodiesOfReadsAreNotWaitedFor(t *testing.T) {
	timed(t, func(t *testing.T, p pipes, _ *core.Hub, _ *fakes) {
		c := p.dial()
		began := time.Now()
		go func() {
			_, _ = io.WriteString(c, "GET /api/v1/matrix HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
		}()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); res.StatusCode != http.StatusOK || took > 0 {
			t.Errorf("got %d after %s, want 200 at once", res.StatusCode, took)
		}
		_ = c.Close()
	})
}
