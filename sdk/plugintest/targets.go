package plugintest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// Listen is a TCP target on loopback that does what serve does with every
// connection; serve need not close it. Connections end with the test.
func Listen(t testing.TB, serve func(net.Conn)) sdk.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &listener{open: map[net.Conn]struct{}{}}
	s.work.Go(func() { s.accept(l, serve) })
	t.Cleanup(func() {
		_ = l.Close()
		s.end()
	})
	return targetOf(l)
}

func targetOf(l net.Listener) sdk.Target {
	at := l.Addr().(*net.TCPAddr).AddrPort()
	return sdk.Target{Host: at.Addr().String(), Port: at.Port()}
}

type listener struct {
	work sync.WaitGroup

	mu    sync.Mutex // guards below
	open  map[net.Conn]struct{}
	ended bool
}

func (s *listener) accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && s.keep(c) {
			s.work.Go(func() {
				defer s.drop(c)
				serve(c)
			})
		}
	}
}

func (s *listener) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		_ = c.Close()
		return false
	}
	s.open[c] = struct{}{}
	return true
}

func (s *listener) drop(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	_ = c.Close()
}

func (s *listener) end() {
	s.mu.Lock()
	s.ended = true
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
}

// Refusing is a target where nothing listens.
func Refusing(t testing.TB) sdk.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return targetOf(l)
}

// Silent is a target that accepts connections and never says a word.
func Silent(t testing.TB) sdk.Target {
	t.Helper()
	return Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

// Resetting is a target that resets every connection at once.
func Resetting(t testing.TB) sdk.Target {
	t.Helper()
	return Listen(t, func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) })
}

// ResettingOnData is a target that resets a connection when something is sent.
func ResettingOnData(t testing.TB) sdk.Target {
	t.Helper()
	return Listen(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.(*net.TCPConn).SetLinger(0)
	})
}

// Banner is a target that says text and closes the connection.
func Banner(t testing.TB, text string) sdk.Target {
	t.Helper()
	return Listen(t, func(c net.Conn) { _, _ = io.WriteString(c, text) })
}

// Slow is a target that says text a byte at a time, with a pause before each, for
// ever.
func Slow(t testing.TB, pause time.Duration, text string) sdk.Target {
	t.Helper()
	return Listen(t, func(c net.Conn) {
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = io.Copy(io.Discard, c)
		}()
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
			case <-gone:
				return
			}
			if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
				_ = c.Close()
				<-gone
				return
			}
		}
	})
}

// Garbage is a target that answers whatever is sent with bytes of no protocol,
// for ever.
func Garbage(t testing.TB) sdk.Target {
	t.Helper()
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(i*7 + i>>8)
	}
	return Listen(t, func(c net.Conn) {
		for {
			if _, err := c.Write(noise); err != nil {
				return
			}
		}
	})
}

// TLS is a target that shakes hands with config and does with the connection what
// serve does; nil says nothing. The host of the target is an address.
func TLS(t testing.TB, config *tls.Config, serve func(*tls.Conn)) sdk.Target {
	t.Helper()
	return Listen(t, func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() != nil {
			return
		}
		if serve == nil {
			_, _ = io.Copy(io.Discard, s)
			return
		}
		serve(s)
	})
}

// NoRoute is a target in a range that is kept for documentation (RFC 5737): dials
// fail or hang, depending on the network. Tests with it need a deadline.
func NoRoute() sdk.Target {
	return sdk.Target{Host: netip.AddrFrom4([4]byte{192, 0, 2, 1}).String(), Port: 9}
}
