package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// serve answers handshakes with the hash of the caller's key until the test ends.
func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	l := listen(t)
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { answer(tls.Server(conn, config)) })
		}
	})
	return l.Addr().String()
}

func answer(conn *tls.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if conn.Handshake() != nil {
		return
	}
	var caller core.KeyHash
	if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
		caller = KeyHashOf(certs[0])
	}
	conn.Write(caller[:])
}

// call is the key that the server saw, and how the connection was made.
func call(t *testing.T, addr string, config *tls.Config) (seen core.KeyHash, cs tls.ConnectionState, err error) {
	t.Helper()
	raw, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return seen, cs, err
	}
	conn := tls.Client(raw, config)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if err := conn.Handshake(); err != nil {
		return seen, cs, err
	}
	_, err = io.ReadFull(conn, seen[:])
	return seen, conn.ConnectionState(), err
}

func TestMutualPins(t *testing.T) {
	server, client, other := open(t, t.TempDir()), open(t, t.TempDir()), open(t, t.TempDir())
	addr := serve(t, server.ServerTLS())
	for _, pin := range []core.KeyHash{{}, server.Key()} {
		seen, _, err := call(t, addr, client.ClientTLS(pin))
		if err != nil || seen != client.Key() {
			t.Errorf("pin %q: server saw %q, %v; want %q", pin, seen, err, client.Key())
		}
	}
	_, _, err := call(t, addr, client.ClientTLS(other.Key()))
	var wrong *KeyError
	if !errors.As(err, &wrong) || wrong.Want != other.Key() || wrong.Got != server.Key() {
		t.Errorf("wrong pin: got %v", err)
	}
}

func TestCallerWithoutCertificateIsServed(t *testing.T) {
	addr := serve(t, open(t, t.TempDir()).ServerTLS())
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		seen, _, err := call(t, addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		if err != nil || !seen.IsZero() {
			t.Errorf("TLS %x: server saw %q, %v", version, seen, err)
		}
	}
	if _, _, err := call(t, addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was served")
	}
}

func TestServerOfTheOriginal(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: tls.VersionTLS12})
	if _, _, err := call(t, addr, open(t, t.TempDir()).ClientTLS(core.KeyHash{})); err != nil {
		t.Error(err)
	}
}

func TestNoResumption(t *testing.T) {
	server, client := open(t, t.TempDir()), open(t, t.TempDir())
	addr := serve(t, server.ServerTLS())
	// A caller that would resume if it could.
	config := client.ClientTLS(server.Key())
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	config.ServerName = "node1"
	for n := range 3 {
		if _, cs, err := call(t, addr, config); err != nil || cs.DidResume {
			t.Errorf("call %d: resumed %t, %v", n, cs.DidResume, err)
		}
	}
}

// A server that has handed out tickets and then changes its key, as an
// impostor with stolen ticket keys could: the pin must hold on resumption too.
func TestChangedKeyIsRefusedOverResumption(t *testing.T) {
	before, after, client := open(t, t.TempDir()), open(t, t.TempDir()), open(t, t.TempDir())
	current := before
	var ticketKey [32]byte
	loose := &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return current.GetCertificate(h) }}
	loose.SetSessionTicketKeys([][32]byte{ticketKey})
	addr := serve(t, loose)

	cache := tls.NewLRUClientSessionCache(8)
	config := client.ClientTLS(before.Key())
	config.ClientSessionCache, config.ServerName = cache, "node1"
	if _, _, err := call(t, addr, config); err != nil {
		t.Fatal(err)
	}
	if _, cs, err := call(t, addr, config); err != nil || !cs.DidResume {
		t.Fatalf("the test's own server must resume: %t, %v", cs.DidResume, err)
	}
	// The session of the old key is offered while another key is pinned.
	moved := client.ClientTLS(after.Key())
	moved.ClientSessionCache, moved.ServerName = cache, "node1"
	current = after
	var wrong *KeyError
	if _, _, err := call(t, addr, moved); !errors.As(err, &wrong) {
		t.Errorf("resumed session of the old key: got %v, want a *KeyError", err)
	}
	// And as ClientTLS is used, without a cache, the changed key is seen at once.
	if _, _, err := call(t, addr, client.ClientTLS(before.Key())); !errors.As(err, &wrong) {
		t.Errorf("changed key: got %v, want a *KeyError", err)
	}
	if client.ClientTLS(before.Key()).ClientSessionCache != nil {
		t.Error("ClientTLS has a session cache")
	}
}

func TestHotRenewalUnderHandshakes(t *testing.T) {
	clock, mu := noon, sync.Mutex{}
	server, err := Open(t.TempDir(), Options{Hosts: fixedHosts, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return clock
	}})
	if err != nil {
		t.Fatal(err)
	}
	client := open(t, t.TempDir())
	addr := serve(t, server.ServerTLS())
	const callers, calls, renewals = 4, 60, 20
	// The callers can be this far ahead of the renewals, so that handshakes go
	// on during each of them, and each certificate is shown at least once.
	step := make(chan struct{}, callers)
	serials := sync.Map{}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				_, cs, err := call(t, addr, client.ClientTLS(server.Key()))
				if err != nil {
					t.Error(err)
				} else {
					serials.Store(cs.PeerCertificates[0].SerialNumber.String(), true)
				}
				step <- struct{}{}
			}
		})
	}
	for range renewals {
		for range callers * calls / renewals {
			<-step
		}
		mu.Lock()
		clock = clock.Add(60 * 24 * time.Hour)
		mu.Unlock()
		server.check()
	}
	all.Wait()
	shown := 0
	serials.Range(func(any, any) bool { shown++; return true })
	if shown < renewals {
		t.Errorf("got %d certificates shown over %d renewals, want each", shown, renewals)
	}
}

func TestNoCertificateIsRefused(t *testing.T) {
	if err := verifyPin(tls.ConnectionState{}, core.KeyHash{}); err == nil {
		t.Error("got no error")
	}
}

func TestKeyHashOfIsOfTheKeyAlone(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newCertificate(key, []string{"a"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newCertificate(key, []string{"b"}, noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if KeyHashOf(a.Leaf) != KeyHashOf(b.Leaf) || a.Leaf.SerialNumber.Cmp(b.Leaf.SerialNumber) == 0 {
		t.Error("two certificates of one key must have one hash and two serial numbers")
	}
}

func TestFullSegmentsAreForWhoAsks(t *testing.T) {
	config := open(t, t.TempDir()).ServerTLS()
	for _, c := range []struct {
		protocols []string
		want      bool
	}{{nil, false}, {[]string{"http/1.1"}, false}, {[]string{"http/1.1", FullSegments}, true}} {
		got, err := config.GetConfigForClient(&tls.ClientHelloInfo{SupportedProtos: c.protocols})
		if err != nil || (got != nil && got.DynamicRecordSizingDisabled) != c.want {
			t.Errorf("%v: got %+v, %v, want large records: %v", c.protocols, got, err, c.want)
		}
	}
}
