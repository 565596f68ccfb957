package e2e

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// The wire contract as the original's own code has it: what it decodes into,
// and what it sends. It knows no other fields, and ignores them.

// originalPort is where the original listens and what it dials, always.
const originalPort = 443

type originalEntry struct {
	ID           string    `json:"id"`
	FQDN         string    `json:"fqdn"`
	IP           string    `json:"ip"`
	DiscoveredBy string    `json:"discovered_by"`
	FirstSeen    time.Time `json:"first_seen"`
	LastSeen     time.Time `json:"last_seen"`
	IsActive     bool      `json:"is_active"`
}

type originalInfo struct {
	ID    string          `json:"id"`
	FQDN  string          `json:"fqdn"`
	IP    string          `json:"ip"`
	Nodes []originalEntry `json:"nodes"`
}

type originalReport struct {
	Timestamp time.Time       `json:"timestamp"`
	NodeID    string          `json:"node_id"`
	Nodes     []originalEntry `json:"nodes"`
}

// original is a node of the original NodeProbe, faults included: it believes
// what it hears and passes it on, and polls no peer again that has failed once.
type original struct {
	t            *testing.T
	id, fqdn, ip string
	port         int               // originalPort, but for newOriginal
	names        map[string]string // its resolver
	client       *http.Client

	mu      sync.Mutex // guards the rest
	nodes   map[string]originalEntry
	reports []originalReport
	asked   int           // how often somebody got its list
	gate    chan struct{} // answers to /nodeinfo wait until it is closed; nil: none does
	waiting int           // those that wait
}

// newOriginal starts an original on a port of its own: for tests that reach it
// by a seed with a port, and need no privilege.
func newOriginal(t *testing.T, name string) *original {
	t.Helper()
	return newOriginalAt(t, name, "127.0.0.1:0")
}

func newOriginalAt(t *testing.T, name, at string) *original {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	return startOriginal(t, name, l)
}

// newTrueOriginal starts an original where it always is, on port 443, on an
// address of its own of the loopback network.
func newTrueOriginal(t *testing.T, name string) *original {
	t.Helper()
	return startOriginal(t, name, listenPrivileged(t))
}

func startOriginal(t *testing.T, name string, l net.Listener) *original {
	t.Helper()
	at := l.Addr().(*net.TCPAddr)
	o := &original{
		t: t, id: uuid.NewString(), fqdn: name, ip: at.IP.String(), port: at.Port,
		names: map[string]string{}, nodes: map[string]originalEntry{},
	}
	o.client = o.newClient()
	o.serve(l)
	return o
}

// newClient speaks HTTP/1.1, shows no certificate and verifies none.
func (o *original) newClient() *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(o.ip)}}
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			if ip := o.names[host]; ip != "" {
				host = ip
			} else if net.ParseIP(host) == nil {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return d.DialContext(ctx, network, net.JoinHostPort(host, port))
		},
	}}
}

func (o *original) serve(l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nodeinfo", o.serveInfo)
	mux.HandleFunc("POST /report", o.serveReport)
	s := &http.Server{
		Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{o.certificate()}},
		ErrorLog: nil, ReadHeaderTimeout: patience,
	}
	done := make(chan error, 1)
	go func() { done <- s.ServeTLS(l, "", "") }()
	o.t.Cleanup(func() {
		o.release()
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			o.t.Errorf("original %s: %v", o.fqdn, err)
		}
		o.client.CloseIdleConnections()
	})
}

// certificate is as the original makes it: RSA, serial 1, no common name.
func (o *original) certificate() tls.Certificate {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		o.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", o.fqdn}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(o.ip)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		o.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (o *original) serveInfo(w http.ResponseWriter, r *http.Request) {
	o.wait(r.Context())
	o.answer(w, originalInfo{o.id, o.fqdn, o.ip, o.list()})
}

// serveReport believes the report; of its sender it knows only the id.
func (o *original) serveReport(w http.ResponseWriter, r *http.Request) {
	var rep originalReport
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &rep)
	}
	if err != nil {
		http.Error(w, "Bad request", http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	o.reports = append(o.reports, rep)
	now := time.Now()
	o.nodes[rep.NodeID] = originalEntry{ID: rep.NodeID, DiscoveredBy: "report", FirstSeen: now, LastSeen: now, IsActive: true}
	o.believeLocked(rep.Nodes, "report")
	o.mu.Unlock()
	o.answer(w, map[string]string{"status": "success", "message": "Network snapshot received"})
}

func (o *original) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil && o.t.Context().Err() == nil {
		o.t.Logf("original %s: answer: %v", o.fqdn, err)
	}
}
