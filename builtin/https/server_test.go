package https

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchServer) != "" {
		serveBenchmark()
		return
	}
	goleak.VerifyTestMain(m)
}

// selfSigned is a node's certificate.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// node is a peer on a loopback port.
type node struct {
	target sdk.Target
	key    keyHash
	dialled,
	polled atomic.Int64
	server *httptest.Server
}

// listen opens a port on host, "127.0.0.1" or "::1".
func listen(t testing.TB, host string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skip("no ", host, " here: ", err)
	}
	return l
}

// serve starts a peer that answers with h; change may alter it before it starts.
func serve(t testing.TB, h http.HandlerFunc, change ...func(*httptest.Server)) *node {
	t.Helper()
	n := &node{}
	cert := selfSigned(t)
	n.key = hashOf(cert.Leaf)
	n.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.polled.Add(1)
		h(w, r)
	}))
	n.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	n.server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			n.dialled.Add(1)
		}
	}
	n.server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}
	for _, c := range change {
		c(n.server)
	}
	n.server.StartTLS()
	t.Cleanup(n.server.Close)
	n.target = targetOf(n.server.Listener)
	return n
}

func targetOf(l net.Listener) sdk.Target {
	at := l.Addr().(*net.TCPAddr).AddrPort()
	return sdk.Target{Host: at.Addr().String(), Port: at.Port()}
}

// raw starts a TLS listener that hands each connection to f after the handshake.
func raw(t testing.TB, f func(*tls.Conn)) sdk.Target {
	t.Helper()
	return plain(t, func(c net.Conn) {
		secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
		if secure.Handshake() == nil {
			f(secure)
		}
	})
}

// plain starts a TCP listener that hands each connection to f.
func plain(t testing.TB, f func(net.Conn)) sdk.Target {
	t.Helper()
	l := listen(t, "127.0.0.1")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return targetOf(l)
}

// answer is a handler that answers with a body.
func answer(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// ok is a good answer.
var ok = answer(body("", ""))

func newProber(t testing.TB, c Config, env sdk.Env) *prober {
	t.Helper()
	made, err := New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	p := made.(*prober)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func defaults() Config {
	var c Config
	c.SetDefaults()
	return c
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// poll must succeed.
func poll(t testing.TB, p *prober, to sdk.Target) sdk.Result {
	t.Helper()
	r, err := p.Probe(within(t, 10*time.Second), to)
	if err != nil {
		t.Fatalf("poll %s:%d: %v", to.Host, to.Port, err)
	}
	return r
}

func stages(r sdk.Result) []string {
	var names []string
	for _, s := range r.Stages {
		names = append(names, s.Name)
	}
	return names
}

func wantStages(t *testing.T, r sdk.Result, want ...string) {
	t.Helper()
	if got := stages(r); !slices.Equal(got, want) {
		t.Errorf("stages: got %v, want %v", got, want)
	}
}

func metric(r sdk.Result, name string) (float64, bool) {
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

// resolving makes every name stand for ips.
func (p *prober) resolving(ips ...string) {
	p.dialer.names.Lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, ip := range ips {
			out = append(out, netip.MustParseAddr(ip))
		}
		return out, nil
	}
}
