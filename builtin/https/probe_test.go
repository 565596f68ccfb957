package https

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func TestProbe(t *testing.T) {
	n := serve(t, answer(string(golden(t, "nodeinfo.json"))))
	p := newProber(t, defaults(), sdk.Env{})
	r := poll(t, p, n.target)
	wantStages(t, r, stageConnect, stageTLS, stageTTFB, stageTotal)
	if r.RTT <= 0 || r.RTT > r.Stages[len(r.Stages)-1].Took {
		t.Errorf("RTT: got %v, want more than 0 and no more than the whole run", r.RTT)
	}
	for name, want := range map[string]string{
		"remote_address": n.server.Listener.Addr().String(), "tls_version": "1.3", "http_status": "200", "reused": "false",
		"claimed_spki_sha256": "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3a94a8fe5ccb19ba61c4c0873",
	} {
		if got := r.Attributes[name]; got != want {
			t.Errorf("attribute %s: got %q, want %q", name, got, want)
		}
	}
	leaf := n.server.TLS.Certificates[0].Leaf
	if got, _ := metric(r, "certificate_expiry_timestamp_seconds"); got != float64(leaf.NotAfter.Unix()) {
		t.Errorf("certificate expiry: got %v, want %v", got, leaf.NotAfter.Unix())
	}
	id := r.Learned.Identity
	if id.NodeID != "171566c0-549f-82d8-a4e9-735f1bcdd31c" || hex.EncodeToString(id.SPKI) != hex.EncodeToString(n.key[:]) ||
		id.FQDN != "alpha.example.net" || id.Version != "1.4.0" || id.Port != 8443 || id.BootID == "" || !id.NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("identity: got %+v", id)
	}
	if len(r.Learned.Peers) != 2 || len(r.Learned.View) != 2 {
		t.Errorf("learned: got %d peers and %d paths, want 2 and 2", len(r.Learned.Peers), len(r.Learned.View))
	}
}

func TestProbeIPv6(t *testing.T) {
	hosts := make(chan string, 1)
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hosts <- r.Host
		ok(w, r)
	}, func(s *httptest.Server) {
		_ = s.Listener.Close()
		s.Listener = listen(t, "::1")
	})
	p := newProber(t, defaults(), sdk.Env{})
	for _, host := range []string{"::1", "[::1]"} {
		n.target.Host, n.target.Fresh = host, true
		poll(t, p, n.target)
		if got, want := <-hosts, n.server.Listener.Addr().String(); got != want {
			t.Errorf("Host: got %q, want %q", got, want)
		}
	}
}

func TestRequest(t *testing.T) {
	var got *http.Request
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		ok(w, r)
	})
	p := newProber(t, defaults(), sdk.Env{Node: sdk.NodeInfo{Version: "1.4.0", Advertise: "192.0.2.1:8443"}})
	poll(t, p, n.target)
	if got.Method != "GET" || got.RequestURI != "/nodeinfo" || got.Proto != "HTTP/1.1" || got.ContentLength != 0 {
		t.Errorf("got %s %s %s", got.Method, got.RequestURI, got.Proto)
	}
	for name, want := range map[string]string{
		"User-Agent": "nodeprobe/1.4.0", "NodeProbe-Advertise": "192.0.2.1:8443", "Accept-Encoding": "gzip", "If-None-Match": "",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: got %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if len(got.TLS.PeerCertificates) != 0 {
		t.Error("shows a certificate that it was not granted")
	}
}

func TestHostHeader(t *testing.T) {
	for _, tt := range []struct {
		host string
		port uint16
		want string
	}{
		{"a.example", 443, "a.example"},
		{"a.example", 8443, "a.example:8443"},
		{"2001:db8::1", 443, "[2001:db8::1]"},
		{"2001:db8::1", 8443, "[2001:db8::1]:8443"},
	} {
		q := newRequest(sdk.NodeInfo{Advertise: "x\r\ny", Version: "1\n"}).appendTo(nil, tt.host, tt.port, "")
		want := "GET /nodeinfo HTTP/1.1\r\nHost: " + tt.want + "\r\nUser-Agent: nodeprobe\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
		if string(q) != want {
			t.Errorf("got %q, want %q", q, want)
		}
	}
}

func TestName(t *testing.T) {
	n := serve(t, ok)
	c := defaults()
	c.AllowLoopback = true
	p := newProber(t, c, sdk.Env{Node: sdk.NodeInfo{ID: "x"}})
	p.resolving("127.0.0.1")
	n.target.Host = "peer.example"
	r := poll(t, p, n.target)
	wantStages(t, r, stageDNS, stageConnect, stageTLS, stageTTFB, stageTotal)
}

// The first address refuses, the second answers.
func TestNameWithTwoAddresses(t *testing.T) {
	n := serve(t, ok)
	c := defaults()
	c.AllowLoopback = true
	p := newProber(t, c, sdk.Env{})
	p.resolving("127.0.0.2", "127.0.0.1")
	n.target.Host = "peer.example"
	if r := poll(t, p, n.target); !strings.HasPrefix(r.Attributes["remote_address"], "127.0.0.1:") {
		t.Errorf("remote address: got %q", r.Attributes["remote_address"])
	}
}

func TestNameOnLoopback(t *testing.T) {
	for _, tt := range []struct {
		name string
		node sdk.NodeInfo
		want bool
	}{
		{"run by hand", sdk.NodeInfo{}, true},
		{"local node", sdk.NodeInfo{ID: "x", Advertise: "127.0.0.1:8443"}, true},
		{"local node, IPv6", sdk.NodeInfo{ID: "x", Advertise: "[::1]:8443"}, true},
		{"node", sdk.NodeInfo{ID: "x", Advertise: "192.0.2.1:8443"}, false},
		{"named node", sdk.NodeInfo{ID: "x", Advertise: "localhost.example:443"}, false},
		{"node that tells nothing", sdk.NodeInfo{ID: "x"}, false},
	} {
		n := serve(t, ok)
		p := newProber(t, defaults(), sdk.Env{Node: tt.node})
		p.resolving("127.0.0.1")
		n.target.Host = "localhost"
		if _, err := p.Probe(within(t, 5*time.Second), n.target); (err == nil) != tt.want {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

func TestGuard(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{Node: sdk.NodeInfo{ID: "x", Advertise: "192.0.2.1:443"}})
	for _, tt := range []struct {
		ip   string
		want string
	}{
		{"127.0.0.1", "allow_loopback"},
		{"127.0.1.1", "allow_loopback"},
		{"::1", "allow_loopback"},
		{"::ffff:127.0.0.1", "allow_loopback"},
		{"169.254.169.254", "link-local"},
		{"fe80::1", "link-local"},
		{"224.0.0.1", "not the address of a host"},
		{"ff02::1", "not the address of a host"},
		{"0.0.0.0", "not the address of a host"},
		{"::", "not the address of a host"},
	} {
		p.resolving(tt.ip)
		_, err := p.Probe(within(t, time.Second), sdk.Target{Host: "peer.example", Port: n.target.Port})
		if sdk.ReasonOf(err) != sdk.ReasonDNS || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want ...%s...", tt.ip, err, tt.want)
		}
	}
	if got := n.dialled.Load(); got != 0 {
		t.Errorf("dialled: got %d, want 0", got)
	}
}

func TestHostileHosts(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	asked := ""
	p.dialer.names.Lookup = func(_ context.Context, _, host string) ([]netip.Addr, error) {
		asked = host
		return nil, errors.New("no")
	}
	for _, host := range []string{
		"", " ", ".", "..", "a..b", "-a", "a-", "127.1", "0177.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "127.0.0.1/x", "127.0.0.1#",
		"u@127.0.0.1", "127.0.0.1:1", "h:9999/admin", "a\r\nHost: b", "a\x00", "fe80::1%lo", "%31", "[::1", "::1]", "[]", "a b", "a\tb",
		"exa\u202emple", "ex\u00e4mple", "localhost?", "*", "a,b", "a;b", strings.Repeat("a", 70_000), strings.Repeat("a.", 127) + "aa",
		"0.0.0.0", "::", "224.0.0.1", "ff02::1", "[::]", "::ffff:0.0.0.0",
	} {
		n.target.Host = host
		if _, err := p.Probe(within(t, time.Second), n.target); err == nil {
			t.Errorf("%.40q: got no error", host)
		} else if r := sdk.ReasonOf(err); asked != "" || r != sdk.ReasonDNS && r != sdk.ReasonUnreachable {
			t.Errorf("%.40q: got %s %v, looked up %.40q", host, r, err, asked)
		}
	}
	if got := n.dialled.Load(); got != 0 {
		t.Errorf("dialled: got %d, want 0", got)
	}
}

func TestMutualTLS(t *testing.T) {
	own := selfSigned(t)
	var shown keyHash
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		shown = hashOf(r.TLS.PeerCertificates[0])
		ok(w, r)
	})
	p := newProber(t, defaults(), withIdentity(t, own))
	n.target.SPKI = n.key[:]
	poll(t, p, n.target)
	if shown != hashOf(own.Leaf) {
		t.Errorf("certificate shown: got %x, want %x", shown, hashOf(own.Leaf))
	}
}

// With another key than the pinned one, the peer gets neither a request nor our
// certificate.
func TestPinMismatch(t *testing.T) {
	got := make(chan string, 1)
	target := plain(t, func(c net.Conn) {
		cfg := &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, ClientAuth: tls.RequestClientCert}
		secure := tls.Server(c, cfg)
		err := secure.Handshake()
		b, _ := io.ReadAll(secure)
		got <- fmt.Sprintf("handshake completed %v, bytes %d, certificates %d", err == nil, len(b), len(secure.ConnectionState().PeerCertificates))
	})
	p := newProber(t, defaults(), withIdentity(t, selfSigned(t)))
	target.SPKI = make([]byte, 32)
	r, err := p.Probe(within(t, 5*time.Second), target)
	if sdk.ReasonOf(err) != sdk.ReasonIdentity || r.Learned != nil {
		t.Errorf("got %v, learned %v, want reason identity and nothing learned", err, r.Learned)
	}
	wantStages(t, r, stageConnect, stageTotal)
	if g, want := <-got, "handshake completed false, bytes 0, certificates 0"; g != want {
		t.Errorf("peer saw: got %s, want %s", g, want)
	}
}

func TestNodeID(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	const other = "11111111-2222-4333-8444-555555555555"
	for _, tt := range []struct {
		name string
		id   string
		pin  []byte
		want sdk.Reason
	}{
		{"same", peerID, nil, ""},
		{"other", other, nil, sdk.ReasonIdentity},
		{"other, pinned key", other, n.key[:], ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.target.NodeID, n.target.SPKI = tt.id, tt.pin
			r, err := p.Probe(within(t, 5*time.Second), n.target)
			if tt.want == "" && (err != nil || r.Learned.Identity.NodeID != peerID) {
				t.Errorf("got %v, learned %+v", err, r.Learned)
			}
			if tt.want != "" && (sdk.ReasonOf(err) != tt.want || r.Learned != nil) {
				t.Errorf("got %v, learned %+v, want reason %s", err, r.Learned, tt.want)
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	canary := serve(t, ok)
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, canary.server.URL+"/nodeinfo", http.StatusFound)
	})
	p := newProber(t, defaults(), sdk.Env{})
	_, err := p.Probe(within(t, 5*time.Second), n.target)
	if sdk.ReasonOf(err) != sdk.ReasonHTTPStatus || !strings.Contains(err.Error(), canary.server.URL) {
		t.Errorf("got %v, want http_status with the place", err)
	}
	if got := canary.dialled.Load(); got != 0 {
		t.Errorf("canary dialled: got %d, want 0", got)
	}
}

func TestPlugin(t *testing.T) {
	c := defaults()
	if err := c.Validate(); err != nil || c.KeepAlive != 100 || c.PostQuantum || c.AllowLoopback {
		t.Errorf("defaults: got %+v, %v", c, err)
	}
	for _, n := range []int{-1, 10_001} {
		c.KeepAlive = n
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "0 to 10000") {
			t.Errorf("keep_alive %d: got %v", n, err)
		}
	}
}

func TestKeyExchange(t *testing.T) {
	for _, pq := range []bool{false, true} {
		var offered []tls.CurveID
		n := serve(t, ok, func(s *httptest.Server) {
			s.TLS.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				offered = h.SupportedCurves
				return nil, nil
			}
		})
		c := defaults()
		c.PostQuantum = pq
		poll(t, newProber(t, c, sdk.Env{}), n.target)
		if got := offered[0] == tls.X25519MLKEM768; got != pq {
			t.Errorf("post_quantum %v: offered %v", pq, offered)
		}
	}
}
