package report

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a reporting server on loopback.
type receiver struct {
	config Config
	key    keyHash
	bodies []string
	server *httptest.Server
}

// receive starts a server that answers with status and header.
func receive(t *testing.T, status int, header ...string) *receiver {
	t.Helper()
	r := &receiver{}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		r.bodies = append(r.bodies, q.Method+" "+q.URL.Path+" "+q.Header.Get("Content-Type")+" "+string(b))
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	r.key = hashOf(r.server.Certificate())
	at := r.server.Listener.Addr().(*net.TCPAddr).AddrPort()
	r.config = configured(Config{ServerIP: at.Addr().String(), ServerPort: at.Port()})
	return r
}

// configured is c with the defaults that it leaves out.
func configured(c Config) Config {
	var d Config
	d.SetDefaults()
	if c.ServerPort == 0 {
		c.ServerPort = d.ServerPort
	}
	c.Timeout = d.Timeout
	return c
}

func reporterFor(t *testing.T, c Config, p *pins) *reporter {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := newReporter(c, sdk.Env{Node: sdk.NodeInfo{Version: "1.4.0"}}, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func snapshots(bodies ...string) sdk.Batch {
	var b sdk.Batch
	for i, body := range bodies {
		b.Records = append(b.Records, sdk.Record{Seq: uint64(10 + i), Kind: sdk.RecordSnapshot, Payload: []byte(body)})
	}
	return b
}

func deliver(t *testing.T, r sdk.Reporter, b sdk.Batch) (uint64, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return r.Deliver(ctx, b)
}

func TestDeliverNewest(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusAccepted} {
		s := receive(t, status)
		b := snapshots("one", "two", "three")
		b.Records = append(b.Records, sdk.Record{Seq: 20, Kind: "event", Payload: []byte("x")})
		through, err := deliver(t, reporterFor(t, s.config, newPins()), b)
		if err != nil || through != 20 {
			t.Errorf("%d: got %d, %v, want 20", status, through, err)
		}
		if want := "POST /report application/json three"; len(s.bodies) != 1 || s.bodies[0] != want {
			t.Errorf("%d: server got %q, want %q", status, s.bodies, want)
		}
	}
}

// A node takes no more than a mebibyte unless it is compressed; the original
// takes any length, but as it is.
func TestLongSnapshot(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", maxPlain/16) + "x"
	for name, takes := range map[string]func(body []byte, encoding string) int{
		"node": func(body []byte, encoding string) int {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if encoding != "gzip" || err != nil {
				return http.StatusRequestEntityTooLarge
			}
			if plain, err := io.ReadAll(z); err != nil || string(plain) != long {
				return http.StatusBadRequest
			}
			return http.StatusOK
		},
		"original": func(body []byte, _ string) int {
			if string(body) != long {
				return http.StatusBadRequest
			}
			return http.StatusOK
		},
	} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			body, _ := io.ReadAll(q.Body)
			w.WriteHeader(takes(body, q.Header.Get("Content-Encoding")))
		}))
		at := server.Listener.Addr().(*net.TCPAddr).AddrPort()
		r := reporterFor(t, configured(Config{ServerIP: at.Addr().String(), ServerPort: at.Port()}), newPins())
		if through, err := deliver(t, r, snapshots(long)); err != nil || through != 10 {
			t.Errorf("%s: got %d, %v", name, through, err)
		}
		server.Close()
	}
}

func TestDeliverNothing(t *testing.T) {
	s := receive(t, http.StatusOK)
	r := reporterFor(t, s.config, newPins())
	for want, b := range map[uint64]sdk.Batch{0: {}, 7: {Records: []sdk.Record{{Seq: 7, Kind: "event"}}}} {
		if through, err := deliver(t, r, b); err != nil || through != want {
			t.Errorf("got %d, %v, want %d", through, err, want)
		}
	}
	if len(s.bodies) != 0 {
		t.Errorf("server got %q, want nothing", s.bodies)
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		status    int
		header    []string
		permanent bool
		after     time.Duration
	}{
		{400, nil, true, 0},
		{401, nil, true, 0},
		{403, nil, true, 0},
		{404, nil, true, 0},
		{413, nil, true, 0},
		{204, nil, true, 0},
		{302, []string{"Location", "https://192.0.2.1/report"}, true, 0},
		{307, []string{"Location", "https://192.0.2.1/report"}, true, 0},
		{408, nil, false, 0},
		{425, nil, false, 0},
		{429, []string{"Retry-After", "17"}, false, 17 * time.Second},
		{500, nil, false, 0},
		{503, []string{"Retry-After", "999999999"}, false, time.Hour},
		{503, []string{"Retry-After", "soon"}, false, 0},
	} {
		t.Run(http.StatusText(tt.status), func(t *testing.T) {
			header := ""
			if len(tt.header) == 2 && tt.header[0] == "Retry-After" {
				header = tt.header[1]
			}
			s := receive(t, tt.status, tt.header...)
			p := newPins()
			through, err := deliver(t, reporterFor(t, s.config, p), snapshots("x"))
			if err == nil || through != 0 {
				t.Fatalf("got %d, %v, want an error", through, err)
			}
			again, after := retry(tt.status, header, time.Now())
			if again == tt.permanent || after != tt.after {
				t.Errorf("retry: got %v after %v, want %v after %v", again, after, !tt.permanent, tt.after)
			}
			if len(s.bodies) != 1 || len(p.byAddr) != 0 {
				t.Errorf("got %d requests and %d pins, want 1 and 0", len(s.bodies), len(p.byAddr))
			}
		})
	}
}

func TestRetryAfterDate(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
		now.Add(24 * time.Hour).Format(http.TimeFormat): time.Hour, "": 0, "-1": 0, "1.5": 0,
	} {
		if got := retryAfter(s, now); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

// The key that took a snapshot is the only one that gets the next, also after
// the instance was replaced.
func TestPin(t *testing.T) {
	p := newPins()
	first := receive(t, http.StatusOK)
	if _, err := deliver(t, reporterFor(t, first.config, p), snapshots("x")); err != nil {
		t.Fatal(err)
	}
	addr := first.server.Listener.Addr().String()
	if p.byAddr[addr] != first.key {
		t.Fatalf("pinned: got %x, want %x", p.byAddr[addr], first.key)
	}
	p.byAddr[addr] = keyHash{1}
	_, err := deliver(t, reporterFor(t, first.config, p), snapshots("y"))
	if sdk.ReasonOf(err) != sdk.ReasonIdentity || !strings.Contains(err.Error(), "server_spki_sha256") {
		t.Errorf("got %v, want reason identity and the remedy", err)
	}
	if len(first.bodies) != 1 {
		t.Errorf("server got %q, want one", first.bodies)
	}
}

// TestPinOutlivesTheProcess where there is a place to keep it; a file that cannot
// be read lets nobody in.
func TestPinOutlivesTheProcess(t *testing.T) {
	s, dir := receive(t, http.StatusOK), t.TempDir()
	env := sdk.Env{Log: hclog.NewNullLogger(), Grants: sdk.Grants{sdk.CapabilityState("snapshot"): []byte(dir)}}
	try := func(c Config) error {
		t.Helper()
		r, err := newReporter(c, env, newPins()) // as in a new process
		if err != nil {
			t.Fatal(err)
		}
		_, err = deliver(t, r, snapshots("x"))
		return err
	}
	for range 2 {
		if err := try(s.config); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "servers.json")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), hex.EncodeToString(s.key[:])) {
		t.Fatalf("kept: got %s, %v", text, err)
	}
	other := strings.Repeat("ab", 32)
	for _, bad := range []string{strings.ReplaceAll(string(text), hex.EncodeToString(s.key[:]), other), "{", `{"a:1":"xyz"}`} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := try(s.config); sdk.ReasonOf(err) != sdk.ReasonIdentity {
			t.Errorf("%.20q: got %v, want reason identity", bad, err)
		}
		c := s.config
		c.ServerSPKI = hex.EncodeToString(s.key[:])
		if err := try(c); err != nil {
			t.Errorf("%.20q and the configured key: got %v", bad, err)
		}
	}
}

func TestConfiguredPin(t *testing.T) {
	s := receive(t, http.StatusOK)
	s.config.ServerSPKI = strings.ToUpper(hex.EncodeToString(s.key[:]))
	if _, err := deliver(t, reporterFor(t, s.config, newPins()), snapshots("x")); err != nil {
		t.Errorf("right key: %v", err)
	}
	s.config.ServerSPKI = strings.Repeat("0", 64)
	if _, err := deliver(t, reporterFor(t, s.config, newPins()), snapshots("x")); sdk.ReasonOf(err) != sdk.ReasonIdentity {
		t.Errorf("other key: got %v, want reason identity", err)
	}
	if len(s.bodies) != 1 {
		t.Errorf("server got %q, want one", s.bodies)
	}
}

func TestAddressWhenTheNameDoesNotResolve(t *testing.T) {
	s := receive(t, http.StatusOK)
	s.config.ServerFQDN = "reporting.example"
	for _, tt := range []struct {
		ip   string
		want sdk.Reason
	}{{s.config.ServerIP, ""}, {"", sdk.ReasonDNS}} {
		s.config.ServerIP = tt.ip
		r := reporterFor(t, s.config, newPins())
		r.server.dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no name server here")
		}}
		_, err := deliver(t, r, snapshots("x"))
		if tt.want == "" && err != nil || tt.want != "" && sdk.ReasonOf(err) != tt.want {
			t.Errorf("with address %q: got %v, want reason %q", tt.ip, err, tt.want)
		}
	}
}

func TestShowsItsCertificate(t *testing.T) {
	var shown int
	s := receive(t, http.StatusOK)
	s.server.Close()
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		shown = len(q.TLS.PeerCertificates)
	}))
	s.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	s.config.ServerPort = s.server.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
	r, err := newReporter(s.config, withIdentity(t), newPins())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deliver(t, r, snapshots("x")); err != nil || shown != 1 {
		t.Errorf("got %d certificates, %v, want 1", shown, err)
	}
}

func TestServerThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := configured(Config{ServerIP: "127.0.0.1", ServerPort: l.Addr().(*net.TCPAddr).AddrPort().Port()})
	r := reporterFor(t, c, newPins())
	r.client.Timeout = 100 * time.Millisecond
	_, err = deliver(t, r, snapshots("x"))
	if sdk.ReasonOf(err) != sdk.ReasonTimeout {
		t.Errorf("got %v, want timeout", err)
	}
}

func TestUnreachableServer(t *testing.T) {
	s := receive(t, http.StatusOK)
	s.server.Close()
	_, err := deliver(t, reporterFor(t, s.config, newPins()), snapshots("x"))
	if sdk.ReasonOf(err) != sdk.ReasonRefused {
		t.Errorf("got %v, want refused", err)
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"name", configured(Config{ServerFQDN: "a.example"}), nil},
		{"address", configured(Config{ServerFQDN: "unknown", ServerIP: "2001:db8::1"}), nil},
		{"nothing", configured(Config{}), []string{"server_fqdn: give a host name"}},
		{"all wrong", Config{ServerFQDN: "https://a/report", ServerIP: "1.2.3", ServerSPKI: "ab"}, []string{
			"server_fqdn: got", "server_ip: got", "server_port: got 0", "server_spki_sha256: got", "timeout: got 0s, want 1s to 5m0s",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.config.Validate()
			if len(tt.want) == 0 && err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want ...%s...", err, want)
				}
			}
		})
	}
	if c := configured(Config{}); c.ServerPort != 443 || c.Timeout != 30*time.Second {
		t.Errorf("defaults: got %+v", c)
	}
}
