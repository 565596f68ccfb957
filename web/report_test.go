package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// original is a report as nodes of the original send it.
const original = `{"timestamp":"2026-01-02T03:04:05.678901234Z","node_id":"0b7c1f6e-6d0e-4a5e-8f5e-0d6f3f1d2c3b","nodes":[` +
	`{"id":"seed-nodeprobe-2-192.168.65.11","fqdn":"nodeprobe-2","ip":"192.168.65.11","discovered_by":"seed",` +
	`"first_seen":"2026-01-02T03:04:05Z","last_seen":"2026-01-02T03:04:05Z","is_active":true},` +
	`{"id":"","fqdn":"","ip":"","discovered_by":"report","first_seen":"0001-01-01T00:00:00Z","last_seen":"2026-01-02T03:04:05Z","is_active":false}]}`

func TestReportOfTheOriginal(t *testing.T) {
	h := start(t, twoNodes(testSelf.ID))
	a := h.do(t, client(t), "POST", "/report", original)
	if want := `{"message":"Network snapshot received","status":"success"}`; a.status != http.StatusOK || a.body != want {
		t.Fatalf("got %d %s, want 200 %s", a.status, a.body, want)
	}
	if len(h.reports) != 1 {
		t.Fatalf("stored: got %d, want 1", len(h.reports))
	}
	r := h.reports[0]
	if r.Verified || r.From != "127.0.0.1" || len(r.Nodes) != 2 || r.Nodes[0].ID != "seed-nodeprobe-2-192.168.65.11" || !r.Nodes[0].Active {
		t.Errorf("got %+v", r)
	}
}

func TestPeersReportOnlyForThemselves(t *testing.T) {
	peer, key := certificate(t)
	stranger, _ := certificate(t)
	h := start(t, twoNodes(testSelf.ID))
	h.nodes[0].Key = key
	own := string(wire.EncodeSnapshot(testSelf, time.Now(), nil, h.view))
	own = strings.Replace(own, testSelf.ID.String(), h.nodes[0].ID.String(), 1)

	if a := h.do(t, client(t, peer), "POST", "/report", own); a.status != http.StatusOK {
		t.Fatalf("own report: got %d %s, want 200", a.status, a.body)
	}
	if r := h.reports[0]; !r.Verified || r.Node != h.nodes[0].ID || len(r.Paths) != 2 || r.Paths[0].Source != r.Node {
		t.Errorf("own report: got %+v, want it verified, with two paths from the sender", r)
	}
	if a := h.do(t, client(t, peer), "POST", "/report", original); a.status != http.StatusForbidden {
		t.Errorf("another node's report: got %d, want 403", a.status)
	}
	if a := h.do(t, client(t, stranger), "POST", "/report", own); a.status != http.StatusOK {
		t.Errorf("a stranger's report: got %d, want 200", a.status)
	}
	if len(h.reports) != 2 || h.reports[1].Verified {
		t.Errorf("got %d reports, want 2, the stranger's not verified", len(h.reports))
	}
}

func TestStoreDownIsTold(t *testing.T) {
	h := start(t, twoNodes(testSelf.ID))
	h.down = errDown
	if a := h.do(t, client(t), "POST", "/report", original); a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "yaml") {
		t.Errorf("got %d %q, want 503 without the cause", a.status, a.body)
	}
}

func TestGzippedReport(t *testing.T) {
	h := start(t, &fakes{})
	a := h.do(t, client(t), "POST", "/report", zipped(original), "Content-Encoding", "gzip")
	if a.status != http.StatusOK || len(h.reports) != 1 {
		t.Errorf("got %d %s, %d stored", a.status, a.body, len(h.reports))
	}
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func TestHostileReports(t *testing.T) {
	node := func(field string) string {
		return `{"timestamp":"2026-01-02T03:04:05Z","node_id":"0b7c1f6e-6d0e-4a5e-8f5e-0d6f3f1d2c3b","nodes":[{` + field + `}]}`
	}
	many := func(n int) string { return strings.Repeat(`{},`, n-1) + `{}` }
	deep := `,"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "}"
	open := strings.TrimSuffix(original, "}")
	for _, tt := range []struct {
		name, body, encoding string
		status               int
		why                  string
	}{
		{"empty", "", "", 400, "not a JSON object"},
		{"cut", "{", "", 400, "unexpected EOF"},
		{"array", "[]", "", 400, "not a JSON object"},
		{"string", `"x"`, "", 400, "not a JSON object"},
		{"null", "null", "", 400, "not a JSON object"},
		{"no fields", "{}", "", 400, "node_id: want a UUID"},
		{"bad timestamp", strings.Replace(original, "2026-01-02T03:04:05.678901234Z", "yesterday", 1), "", 400, "RFC 3339"},
		{"numeric timestamp", strings.Replace(original, `"2026-01-02T03:04:05.678901234Z"`, "17", 1), "", 400, "RFC 3339"},
		{"timestamp no store can keep", strings.Replace(original, "2026-01-02T03:04:05.678901234Z", "2900-01-01T00:00:00Z", 1), "", 400, "timestamp: want"},
		{"wrong type", strings.Replace(original, `"is_active":true`, `"is_active":"yes"`, 1), "", 400, "is_active"},
		{"trailing data", original + "x", "", 400, "data after the end"},
		{"two values", original + original, "", 400, "data after the end"},
		{"empty node_id", strings.Replace(original, "0b7c1f6e-6d0e-4a5e-8f5e-0d6f3f1d2c3b", "", 1), "", 400, "node_id: want a UUID"},
		{"node_id with a newline", strings.Replace(original, "0b7c1f6e-6d0e-4a5e-8f5e-0d6f3f1d2c3b", `a\nb`, 1), "", 400, "node_id: want a UUID"},
		{"field twice", open + `,"node_id":"5a3c9d52-8a56-4b1e-9c0f-000000000001"}`, "", 400, `"node_id": is there twice`},
		{"field twice, escaped", open + `,"node\u005fid":"5a3c9d52-8a56-4b1e-9c0f-000000000001"}`, "", 400, `"node_id": is there twice`},
		{"field in capitals", open + `,"NODE_ID":"5a3c9d52-8a56-4b1e-9c0f-000000000001"}`, "", 400, "lower-case"},
		{"deep", open + deep, "", 400, "nested more than 16 deep"},
		{"too many nodes", node("")[:len(node(""))-4] + many(2001) + "]}", "", 400, "nodes: want at most 2000"},
		{"too many elements", open + `,"x":[` + strings.Repeat("1,", 10_000) + "1]}", "", 400, "array of more than"},
		{"path in a name", node(`"fqdn":"h:9999/admin/delete?all=1#"`), "", 400, "nodes[0].fqdn"},
		{"markup in a name", node(`"fqdn":"<script>"`), "", 400, "nodes[0].fqdn"},
		{"long name", node(`"fqdn":"` + strings.Repeat("a.", 150) + `a"`), "", 400, "nodes[0].fqdn"},
		{"zone", node(`"ip":"fe80::1%eth0"`), "", 400, "nodes[0].ip"},
		{"octal address", node(`"ip":"0177.0.0.1"`), "", 400, "nodes[0].ip"},
		{"port", node(`"port":70000`), "", 400, "port"},
		{"path without probe", open + `,"paths":[{"destination":"5a3c9d52-8a56-4b1e-9c0f-000000000001"}]}`, "", 400, "paths[0].probe"},
		{"brotli", original, "br", 415, "content encoding"},
		{"no gzip", original, "gzip", 400, "inflate"},
		{"cut gzip", zipped(original)[:100], "gzip", 400, "inflate"},
		{"gzip bomb", zipped(strings.Repeat(" ", 30<<20)), "gzip", 413, "too large"},
		{"small gzip bomb", zipped(strings.Repeat(" ", 1<<20)), "gzip", 413, "too large"},
		{"more than a megabyte", open + strings.Repeat(" ", 1<<20) + "}", "", 413, "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, &fakes{})
			a := h.do(t, client(t), "POST", "/report", tt.body, "Content-Encoding", tt.encoding)
			if a.status != tt.status || !strings.Contains(a.body, tt.why) {
				t.Errorf("got %d %q, want %d with %q", a.status, a.body, tt.status, tt.why)
			}
			if tt.status == 400 && !strings.HasPrefix(a.body, "Bad request\n") {
				t.Errorf("got %q, want it to begin with the words of the original", a.body)
			}
			if len(h.reports) != 0 {
				t.Error("something was stored")
			}
		})
	}
}

// endless is a body of n bytes that nobody has to hold.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	e.left -= n
	for i := range p[:n] {
		p[i] = ' '
	}
	return int(n), nil
}

// TestHugeBodies: 50 bodies of 400 MB at once, with and without a length, on
// every route that takes one and some that do not.
func TestHugeBodies(t *testing.T) {
	h := start(t, &fakes{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			path := []string{"/report", "/api/v1/goodbye", "/nodeinfo", "/dashboard"}[i%4]
			c := client(t)
			defer c.CloseIdleConnections()
			req, err := http.NewRequest(http.MethodPost, "https://"+h.addr+path, &endless{400 << 20})
			if err != nil {
				t.Error(err)
				return
			}
			if i%8 < 4 {
				req.ContentLength = 400 << 20
			}
			res, err := c.Do(req)
			if err != nil {
				return // the connection was closed on a body that nobody reads
			}
			defer res.Body.Close()
			if res.StatusCode < 400 {
				t.Errorf("POST %s: got %d, want a refusal", path, res.StatusCode)
			}
		})
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 64<<20 {
		t.Errorf("memory taken from the system: got %d MiB more, want at most 64", grown>>20)
	}
	if len(h.reports) != 0 {
		t.Error("something was stored")
	}
}

// TestReportsWaitingForRoom: those over the number that may be read at once are
// sent away, not kept.
func TestReportsWaitingForRoom(t *testing.T) {
	f := &fakes{}
	s := newServer(f, nil)
	hold, release := io.Pipe()
	var wg sync.WaitGroup
	entered := make(chan struct{}, maxBodiesPerIP)
	for range maxBodiesPerIP {
		wg.Go(func() {
			r, _ := http.NewRequest(http.MethodPost, "https://self.example.net/report", io.MultiReader(signal(entered), hold))
			r.RemoteAddr = "192.0.2.1:1000"
			s.Handler().ServeHTTP(discard{http.Header{}}, r)
		})
	}
	for range maxBodiesPerIP {
		<-entered
	}
	for i, tt := range []struct {
		remote string
		want   int
	}{{"192.0.2.1:2000", http.StatusServiceUnavailable}, {"192.0.2.2:2000", http.StatusOK}} {
		a := serve(s.Handler(), tt.remote, "POST", "/report", original)
		if a.status != tt.want {
			t.Errorf("%d: from %s got %d %s, want %d", i, tt.remote, a.status, a.body, tt.want)
		}
		if tt.want != http.StatusOK && (a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "no room for another report")) {
			t.Errorf("got %s, Retry-After %q, want when and why", a.body, a.header.Get("Retry-After"))
		}
	}
	_ = release.Close()
	wg.Wait()
}

// signal is a reader that tells when it is read first, and is empty.
type signal chan struct{}

func (s signal) Read([]byte) (int, error) {
	s <- struct{}{}
	return 0, io.EOF
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func TestReportOfTwoThousandNodesIsTaken(t *testing.T) {
	var nodes []string
	for i := range wire.MaxNodes {
		nodes = append(nodes, fmt.Sprintf(`{"id":"5a3c9d52-8a56-4b1e-9c0f-%012x","fqdn":"node-%d.example.net","ip":"192.0.2.%d",`+
			`"discovered_by":"caller","first_seen":"2026-01-02T03:04:05.678901234Z","last_seen":"2026-01-02T03:04:05.678901234Z","is_active":true}`, i, i, i%250))
	}
	body := original[:strings.Index(original, "[")+1] + strings.Join(nodes, ",") + "]}"
	h := start(t, &fakes{})
	if a := h.do(t, client(t), "POST", "/report", zipped(body), "Content-Encoding", "gzip"); a.status != http.StatusOK {
		t.Errorf("gzip: got %d %s", a.status, a.body)
	}
	if a := h.do(t, client(t), "POST", "/report", body); a.status != http.StatusOK {
		t.Errorf("plain, %d bytes: got %d %s", len(body), a.status, a.body)
	}
}

// heldStore saves a report when it is let go.
type heldStore struct {
	*fakes
	saving, letGo chan struct{}
}

func (s heldStore) SaveReport(ctx context.Context, r core.Report) error {
	s.saving <- struct{}{}
	<-s.letGo
	return s.fakes.SaveReport(ctx, r)
}

// TestFewReportsAreDecodedWhileTheStoreIsSlow: each takes much memory until it
// is stored.
func TestFewReportsAreDecodedWhileTheStoreIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers = maxDecoders + 3
		store := heldStore{&fakes{}, make(chan struct{}, callers), make(chan struct{})}
		s := newServer(store.fakes, nil)
		s.store = store
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				a := serve(s.Handler(), fmt.Sprintf("192.0.2.%d:1000", i), "POST", "/report", original)
				if a.status != http.StatusOK {
					t.Errorf("got %d %s, want 200 in the end", a.status, a.body)
				}
			})
		}
		synctest.Wait()
		if got := len(store.saving); got != maxDecoders {
			t.Errorf("got %d reports in memory, want %d", got, maxDecoders)
		}
		close(store.letGo)
		all.Wait()
	})
}
