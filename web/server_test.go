package web

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a server on a real TLS port.
type harness struct {
	*fakes
	server *Server
	hub    *core.Hub
	addr   string
	stop   func() error
}

var testSelf = core.Self{
	ID: nodeID(42), Key: core.KeyHash{1}, FQDN: "self.example.net", Version: "1.2.3", BootID: "b00t",
	Advertise: core.Endpoint{Host: "192.0.2.42", Port: 8443}, Started: time.Now().Add(-time.Minute),
}

func newServer(f *fakes, hub Hub) *Server {
	return New(Options{
		Self: testSelf, Mesh: f, Store: f, Engine: f, Plugins: hostFakes{f}, Delivery: deliveryFakes{f}, Hub: hub,
		Health: f.checkHealth, Storage: f.checkStorage, Counts: f.countStorage, AllowedHosts: func() []string { return []string{"allowed.example.net"} }, Reload: f.reload,
		ServiceKey: func(name string, caller core.KeyHash) core.ServiceKey {
			return core.ServiceKey(name + " for " + string(caller[:4]))
		},
	})
}

func start(t testing.TB, f *fakes) *harness {
	t.Helper()
	hub := &core.Hub{}
	s := newServer(f, hub)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	cert, _ := certificate(t)
	go func() { ended <- s.Serve(ctx, ln, tlsConfig(cert)) }()
	stopped := false
	h := &harness{fakes: f, server: s, hub: hub, addr: ln.Addr().String()}
	h.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return h
}

func tlsConfig(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		ClientAuth:     tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
	}
}

func certificate(t testing.TB) (tls.Certificate, core.KeyHash) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
}

// client speaks HTTP/1.1, as nodes do; certs may be empty.
func client(t testing.TB, certs ...tls.Certificate) *http.Client {
	transport := &http.Transport{
		DisableCompression: true,
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true, Certificates: certs},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (h *harness) do(t testing.TB, c *http.Client, method, path, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+h.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	setHeaders(req, headers)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func setHeaders(req *http.Request, headers []string) {
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
}

// serve answers one request without a network, from remote.
func serve(h http.Handler, remote, method, path, body string, headers ...string) answer {
	req := httptest.NewRequest(method, "https://self.example.net"+path, strings.NewReader(body))
	req.RemoteAddr = remote
	setHeaders(req, headers)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return answer{rec.Code, rec.Result().Header, rec.Body.String()}
}

func decode[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader([]byte(a.body)))
	if err := d.Decode(&v); err != nil {
		t.Fatalf("answer %d %q: %v", a.status, a.body, err)
	}
	return v
}
