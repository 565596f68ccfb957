package https

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/scripts/ports"
	"github.com/seahow-uk/nodeprobe/sdk"
)

// says is a peer that reads the request and writes a literal answer.
func says(t *testing.T, answer string) sdk.Target {
	return raw(t, func(c *tls.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, answer)
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
}

// head is the beginning of an answer whose body follows.
func head(length int, more string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n", length, more)
}

func whole(body, more string) string { return head(len(body), more) + body }

func zipped(b []byte) string {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.String()
}

// endless repeats s for as long as it is read.
func endless(t *testing.T, first, s string) sdk.Target {
	return raw(t, func(c *tls.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		for _, err := io.WriteString(c, first); err == nil; _, err = io.WriteString(c, s) {
		}
	})
}

const gz = "Content-Encoding: gzip\r\n"

func TestAnswers(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name   string
		target sdk.Target
		reason sdk.Reason
		want   string
	}{
		{"good", says(t, whole(body("", ""), "")), "", ""},
		{"good gzip", says(t, whole(zipped([]byte(body("", ""))), gz)), "", ""},
		{"good chunks", says(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body("", "")), body("", ""))), "", ""},
		{"good HTTP/1.0", says(t, "HTTP/1.0 200 OK\r\n\r\n"+body("", "")), "", ""},
		{"404", says(t, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), sdk.ReasonHTTPStatus, "status 404"},
		{"500", says(t, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), sdk.ReasonHTTPStatus, "status 500"},
		{"204", says(t, "HTTP/1.1 204 No Content\r\n\r\n"), sdk.ReasonHTTPStatus, "status 204"},
		{"304 without a tag", says(t, "HTTP/1.1 304 Not Modified\r\n\r\n"), sdk.ReasonProtocol, "no tag was sent"},
		{"100", says(t, "HTTP/1.1 100 Continue\r\n\r\n"), sdk.ReasonProtocol, "interim"},
		{"101", says(t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), sdk.ReasonProtocol, "interim"},
		{"closes without answer", says(t, ""), sdk.ReasonReset, "closed the connection in stage ttfb"},
		{"closes in the head", says(t, "HTTP/1.1 200 OK\r\nX: y\r\n"), sdk.ReasonReset, "in stage body"},
		{"closes in the body", says(t, head(1000, "")+"{"), sdk.ReasonReset, "in stage body"},
		{"not HTTP", says(t, "SSH-2.0-OpenSSH\r\n\r\n"), sdk.ReasonProtocol, "not HTTP"},
		{"HTTP/2", says(t, "\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n"), sdk.ReasonProtocol, "not HTTP"},
		{"binary", says(t, strings.Repeat("\x00\n", 10)), sdk.ReasonProtocol, "not HTTP"},
		{"bad length", says(t, "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), sdk.ReasonProtocol, "not HTTP"},
		{"two lengths", says(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"), sdk.ReasonProtocol, "not HTTP"},
		{"bad chunks", says(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), sdk.ReasonProtocol, "body"},
		{"empty", says(t, whole("", "")), sdk.ReasonProtocol, "want '{'"},
		{"HTML", says(t, whole("<html>", "")), sdk.ReasonProtocol, "want '{'"},
		{"unknown coding", says(t, whole("x", "Content-Encoding: br\r\n")), sdk.ReasonProtocol, `"br" was not offered`},
		{"not gzip", says(t, whole("{}", gz)), sdk.ReasonProtocol, "gzip"},
		{"cut gzip", says(t, whole(zipped(golden(t, "nodeinfo.json"))[:200], gz)), sdk.ReasonProtocol, "gzip"},
		{"wrong checksum", says(t, whole(zipped([]byte("{}"))[:22]+"xxxxxxxx", gz)), sdk.ReasonProtocol, "gzip"},
		{"announced too large", says(t, head(1<<20+1, "")), sdk.ReasonTooLarge, "a body of 1048577 bytes"},
		{"just not too large", says(t, whole(big, "")), sdk.ReasonProtocol, "want '{'"},
		{"endless body", endless(t, "HTTP/1.0 200 OK\r\n\r\n", big), sdk.ReasonTooLarge, "more than 1048576"},
		{"endless chunks", endless(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "100000\r\n"+big+"\r\n"), sdk.ReasonTooLarge, "more than 1048576"},
		{"tiny chunks", endless(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\nx\r\n", 1000)), sdk.ReasonTooLarge, "more than 1048576"},
		{"endless head", endless(t, "HTTP/1.1 200 OK\r\n", "X: "+strings.Repeat("y", 1000)+"\r\n"), sdk.ReasonTooLarge, "headers"},
		{"endless header", endless(t, "HTTP/1.1 200 OK\r\nX: ", strings.Repeat("y", 1000)), sdk.ReasonTooLarge, "headers"},
		{"gzip bomb", says(t, whole(zipped(bytes.Repeat([]byte(" "), 64<<20)), gz)), sdk.ReasonTooLarge, "inflate"},
		{"gzip within the ratio", says(t, whole(zipped(varied(5<<20)), gz)), sdk.ReasonTooLarge, "inflate"},
		{"too many nodes", says(t, whole(body("", strings.Repeat("{},", 2000)+"{}"), "")), sdk.ReasonTooLarge, "more than 2000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProber(t, defaults(), sdk.Env{})
			r, err := p.Probe(within(t, 10*time.Second), tt.target)
			if tt.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || sdk.ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %s: %v, want %s: ...%s...", sdk.ReasonOf(err), err, tt.reason, tt.want)
			}
			if r.Learned != nil {
				t.Errorf("learned: got %+v, want nothing", r.Learned)
			}
			if r.Attributes["remote_address"] == "" || len(r.Stages) < 3 {
				t.Errorf("got attributes %v and stages %v of what happened", r.Attributes, r.Stages)
			}
		})
	}
}

// varied is JSON-like text that shrinks to a twentieth.
func varied(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":"%08x","fqdn":"node.example.net","ip":"192.0.2.1","discovered_by":"seed"},`, i*2654435761)
	}
	return b.Bytes()
}

func TestFailuresBeforeHTTP(t *testing.T) {
	closed := sdk.Target{Host: "127.0.0.1", Port: uint16(ports.Must(1))}
	drain := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	reset := func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	name := sdk.Target{Host: "peer.example", Port: 443}
	for _, tt := range []struct {
		name   string
		target sdk.Target
		reason sdk.Reason
		want   string
		stages string
	}{
		{"refused", closed, sdk.ReasonRefused, "refused", "total"},
		{"unreachable", sdk.Target{Host: "255.255.255.255", Port: 443}, sdk.ReasonUnreachable, "unreachable", "total"},
		{"no such name", name, sdk.ReasonDNS, "no such host", "total"},
		{"not TLS", plain(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 smtp ready\r\n"); drain(c) }), sdk.ReasonTLS, "tls", "connect total"},
		{"old TLS", plain(t, func(c net.Conn) {
			_ = tls.Server(c, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10, Certificates: []tls.Certificate{selfSigned(t)}}).Handshake()
		}), sdk.ReasonTLS, "version", "connect total"},
		{"closes in the handshake", plain(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }), sdk.ReasonTLS, "closed the connection in the handshake", "connect total"},
		{"resets in the handshake", plain(t, reset), sdk.ReasonReset, "reset", "connect total"},
		{"hangs in the handshake", plain(t, drain), sdk.ReasonTimeout, "in stage tls after", "connect total"},
		{"hangs before the answer", raw(t, func(c *tls.Conn) { drain(c) }), sdk.ReasonTimeout, "in stage ttfb after", "connect tls total"},
		{"hangs in the head", raw(t, func(c *tls.Conn) { _, _ = io.WriteString(c, "HTTP"); drain(c) }), sdk.ReasonTimeout, "in stage body after", "connect tls ttfb total"},
		{"hangs in the body", raw(t, func(c *tls.Conn) { _, _ = io.WriteString(c, head(9, "")); drain(c) }), sdk.ReasonTimeout, "in stage body after", "connect tls ttfb total"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProber(t, defaults(), sdk.Env{})
			p.dialer.names.Lookup = func(context.Context, string, string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "no such host", Name: "peer.example", IsNotFound: true}
			}
			r, err := p.Probe(within(t, 500*time.Millisecond), tt.target)
			if err == nil || sdk.ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %s: %v, want %s: ...%s...", sdk.ReasonOf(err), err, tt.reason, tt.want)
			}
			if got := strings.Join(stages(r), " "); got != tt.stages {
				t.Errorf("stages: got %s, want %s", got, tt.stages)
			}
		})
	}
}

// What this host lacks is not the peer's fault.
func TestOwnTrouble(t *testing.T) {
	r := newProber(t, defaults(), sdk.Env{}).newRun(sdk.Target{Host: "192.0.2.1"})
	r.stage = stageConnect
	for errno, want := range map[syscall.Errno]sdk.Reason{
		syscall.EMFILE: sdk.ReasonResources, syscall.EADDRNOTAVAIL: sdk.ReasonResources, syscall.EPERM: sdk.ReasonPermission,
		syscall.ECONNREFUSED: sdk.ReasonRefused, syscall.EHOSTUNREACH: sdk.ReasonUnreachable, syscall.ETIMEDOUT: sdk.ReasonTimeout,
	} {
		err := &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", errno)}
		if got := sdk.ReasonOf(r.explain(t.Context(), err)); got != want {
			t.Errorf("%v: got %v, want %v", errno, got, want)
		}
	}
}

func TestHangingLookup(t *testing.T) {
	p := newProber(t, defaults(), sdk.Env{})
	p.dialer.names.Lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	_, err := p.Probe(within(t, 50*time.Millisecond), sdk.Target{Host: "peer.example"})
	if sdk.ReasonOf(err) != sdk.ReasonTimeout || !strings.Contains(err.Error(), "stage dns") {
		t.Errorf("got %v, want a timeout in stage dns", err)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	target := raw(t, func(c *tls.Conn) {
		_, _ = c.Read(make([]byte, 1))
		cancel()
		_, _ = io.Copy(io.Discard, c)
	})
	p := newProber(t, defaults(), sdk.Env{})
	_, err := p.Probe(ctx, target)
	if sdk.ReasonOf(err) != sdk.ReasonCanceled {
		t.Errorf("got %v, want canceled", err)
	}
}

func TestPlainHTTPServer(t *testing.T) {
	l := listen(t, "127.0.0.1")
	s := &http.Server{Handler: ok}
	done := make(chan struct{})
	go func() { _ = s.Serve(l); close(done) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	_, err := newProber(t, defaults(), sdk.Env{}).Probe(within(t, 5*time.Second), targetOf(l))
	if sdk.ReasonOf(err) != sdk.ReasonTLS {
		t.Errorf("got %v, want reason tls", err)
	}
}
