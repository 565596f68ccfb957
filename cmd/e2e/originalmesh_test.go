package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestMixedMesh: two of our nodes and two originals, in a chain of seeds, find
// each other in both directions, and nobody else.
func TestMixedMesh(t *testing.T) {
	n1, n2 := newTrueNode(t), newTrueNode(t)
	o1, o2 := newTrueOriginal(t, "o1.test"), newTrueOriginal(t, "o2.test")
	for _, o := range []*original{o1, o2} {
		o.names = map[string]string{o1.fqdn: o1.ip, o2.fqdn: o2.ip, n1.name(): n1.host, n2.name(): n2.host}
		lie(o, n1)
	}
	n2.seed(n1)
	n1.start()
	n2.start()
	o1.add(originalEntry{DiscoveredBy: "seed", FQDN: n1.name(), IP: n1.host, IsActive: true})
	o2.add(originalEntry{DiscoveredBy: "seed", FQDN: o1.fqdn, IP: o1.ip, IsActive: true})
	o1.run()
	o2.run()

	whole := func() error { return wholeMixed([]*proc{n1, n2}, []*original{o1, o2}) }
	n1.eventually("the mixed mesh is whole", whole)
	before, _ := o1.polled()
	n1.eventually("all have heard of all again", func() error {
		if asked, _ := o1.polled(); asked < before+40 {
			return fmt.Errorf("asked %d times since", asked-before)
		}
		return nil
	})
	if err := whole(); err != nil {
		t.Errorf("later on: %v", err)
	}
}

// newTrueNode is one of our nodes where the original can dial it.
func newTrueNode(t *testing.T) *proc {
	t.Helper()
	n := newNode(t)
	l := listenPrivileged(t)
	n.host, n.port = l.Addr().(*net.TCPAddr).IP.String(), originalPort
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	n.args = []string{"--interval", "1s"}
	return n
}

func wholeMixed(ours []*proc, theirs []*original) error {
	ids := []string{theirs[0].id, theirs[1].id}
	for i, n := range ours {
		a, err := n.nodes()
		if err != nil {
			return err
		}
		if len(a.Nodes) != 3 || a.state(ours[1-i]) != "alive" {
			return fmt.Errorf("node %s knows %+v", n.host, a.Nodes)
		}
		for _, o := range theirs {
			if err := a.holds(o); err != nil {
				return err
			}
		}
		ids = append(ids, a.Self.ID)
	}
	for _, o := range theirs {
		if err := o.knows(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == o.id })...); err != nil {
			return err
		}
	}
	return nil
}

// TestAnswersForTheOriginal: what an original, and whatever watches it, gets
// from us is what it got before, field by field.
func TestAnswersForTheOriginal(t *testing.T) {
	o := newOriginal(t, "o1.test")
	n := newNode(t).start()
	base := "https://" + n.addr()

	t.Run("nodeinfo of a lonely node", func(t *testing.T) {
		var raw map[string]json.RawMessage
		o.decode(t, base+"/nodeinfo", &raw)
		if string(raw["nodes"]) != "[]" {
			t.Errorf("nodes: got %s, want []", raw["nodes"])
		}
	})
	n.stop()
	n.seedOriginals(o)
	n.start()
	n.eventually("the original joined", func() error { return n.holds(o) })

	t.Run("nodeinfo", func(t *testing.T) {
		var info originalInfo
		o.decode(t, base+"/nodeinfo", &info)
		if info.ID != n.id() || info.FQDN != n.name() || info.IP != n.host || len(info.Nodes) != 1 {
			t.Fatalf("got %+v", info)
		}
		e := info.Nodes[0]
		if e.ID != o.id || e.FQDN != o.fqdn || e.IP != o.ip || e.DiscoveredBy != "seed" || !e.IsActive {
			t.Errorf("got %+v, want the original", e)
		}
		if e.FirstSeen.IsZero() || e.LastSeen.Before(e.FirstSeen) {
			t.Errorf("seen from %v to %v", e.FirstSeen, e.LastSeen)
		}
	})
	t.Run("health", func(t *testing.T) { checkHealth(t, o, n) })
	t.Run("pages", func(t *testing.T) { checkPages(t, o, base) })
	t.Run("refusals", func(t *testing.T) { checkRefusals(t, o, base) })
	t.Run("TLS 1.2", func(t *testing.T) { checkOldTLS(t, base) })
}

// decode gets a JSON answer as the original would.
func (o *original) decode(t *testing.T, url string, into any) {
	t.Helper()
	status, body, err := o.request(http.MethodGet, url, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", url, err, body)
	}
}

func checkHealth(t *testing.T, o *original, n *proc) {
	var h struct {
		KnownNodes *int   `json:"known_nodes"`
		FQDN       string `json:"node_fqdn"`
		ID         string `json:"node_id"`
		IP         string `json:"node_ip"`
		Status     string `json:"status"`
		Timestamp  time.Time
		Uptime     string
	}
	o.decode(t, "https://"+n.addr()+"/health", &h)
	if h.KnownNodes == nil || *h.KnownNodes != 1 || h.FQDN != n.name() || h.ID != n.id() || h.IP != n.host || h.Status != "healthy" {
		t.Errorf("got %+v", h)
	}
	if _, err := time.ParseDuration(h.Uptime); err != nil || time.Since(h.Timestamp) > time.Minute {
		t.Errorf("uptime %q, timestamp %v", h.Uptime, h.Timestamp)
	}
}

// checkPages: the root leads to the dashboard.
func checkPages(t *testing.T, o *original, base string) {
	o.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer func() { o.client.CheckRedirect = nil }()
	for path, want := range map[string]int{"/": http.StatusFound, "/dashboard": http.StatusOK, "/nothing": http.StatusNotFound} {
		resp, err := o.client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || resp.Proto != "HTTP/1.1" {
			t.Errorf("%s: got %s over %s, want %d", path, resp.Status, resp.Proto, want)
		}
		if path == "/" && resp.Header.Get("Location") != "/dashboard" {
			t.Errorf("it leads to %q", resp.Header.Get("Location"))
		}
		if path == "/dashboard" && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			t.Errorf("the dashboard is %q", resp.Header.Get("Content-Type"))
		}
	}
}

func checkRefusals(t *testing.T, o *original, base string) {
	for _, c := range []struct{ method, path, allow string }{
		{http.MethodPost, "/nodeinfo", "GET"},
		{http.MethodGet, "/report", "POST"},
		{http.MethodDelete, "/health", "GET"},
		{http.MethodPost, "/dashboard", "GET"},
	} {
		req, err := http.NewRequest(c.method, base+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := o.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(resp.Header.Get("Allow"), c.allow) {
			t.Errorf("%s %s: got %s, Allow %q", c.method, c.path, resp.Status, resp.Header.Get("Allow"))
		}
	}
	id := uuid.NewString()
	for _, body := range []string{
		"", "{", "[]", `"a"`, "null", "{}", `{"timestamp":"yesterday","node_id":"` + id + `","nodes":[]}`,
		`{"timestamp":1,"node_id":"` + id + `","nodes":[]}`, `{"timestamp":"2025-01-02T03:04:05Z","node_id":"` + id + `","nodes":{}}`,
	} {
		status, answer, err := o.request(http.MethodPost, base+"/report", []byte(body))
		if err != nil || status != http.StatusBadRequest || !strings.HasPrefix(string(answer), "Bad request") {
			t.Errorf("report %q: got %d %q %v, want 400 Bad request", body, status, answer, err)
		}
	}
}

func checkOldTLS(t *testing.T, base string) {
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12},
	}}
	resp, err := c.Get(base + "/nodeinfo")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.TLS.Version != tls.VersionTLS12 {
		t.Errorf("got %s over %x", resp.Status, resp.TLS.Version)
	}
}

// TestReportToAnOriginal: our snapshot is one that an original takes.
func TestReportToAnOriginal(t *testing.T) {
	server, other := newOriginal(t, "server.test"), newOriginal(t, "o1.test")
	n := newNode(t)
	n.seedOriginals(other)
	n.write("reportingserver.json", fmt.Sprintf(`{"server_fqdn":"","server_ip":%q,"server_port":%d}`, server.ip, server.port))
	n.write("nodeprobe.yaml", "report: {every: 1s}\n")
	n.start()
	self := n.id()
	n.eventually("the snapshot arrived", func() error { return server.tookReport(self, other) })
}

func (o *original) tookReport(from string, of *original) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.reports {
		for _, e := range r.Nodes {
			if r.NodeID == from && e.ID == of.id && e.FQDN == of.fqdn && e.IP == of.ip && e.IsActive && !e.LastSeen.IsZero() && !r.Timestamp.IsZero() {
				return nil
			}
		}
	}
	return fmt.Errorf("reports: %+v", o.reports)
}
