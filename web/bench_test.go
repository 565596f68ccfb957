package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// hundred is a mesh of 100 peers that all answer.
func hundred() *fakes {
	f := twoNodes(testSelf.ID)
	f.nodes, f.view, f.matrix = nil, nil, nil
	now := time.Now()
	for i := range 100 {
		n := core.Node{
			ID: nodeID(byte(i + 50)), FQDN: "node-" + string(rune('a'+i%26)) + ".example.net", State: core.StateAlive,
			DiscoveredBy: "seed", Endpoints: []core.Endpoint{{Host: "192.0.2.1", Port: 443}}, FirstSeen: now, LastSeen: now,
		}
		f.nodes = append(f.nodes, n)
		f.view = append(f.view, core.PathStatus{
			Source: testSelf.ID, Destination: n.ID, Probe: "https", Outcome: core.OutcomeSuccess, RTT: time.Millisecond, At: now,
		})
	}
	for _, a := range f.nodes {
		for _, b := range f.nodes {
			f.matrix = append(f.matrix, core.PathStatus{
				Source: a.ID, Destination: b.ID, Probe: "https", Outcome: core.OutcomeSuccess, RTT: time.Millisecond, At: now,
			})
		}
	}
	return f
}

// BenchmarkNodeInfo: an answer of 100 nodes, without the connection.
func BenchmarkNodeInfo(b *testing.B) {
	h := newServer(hundred(), nil).Handler()
	ask := func(b *testing.B, tag string, want int) {
		r := httptest.NewRequest(http.MethodGet, "/nodeinfo", nil)
		r.RemoteAddr = "127.0.0.1:1000"
		r.Header.Set("If-None-Match", tag)
		b.ReportAllocs()
		for b.Loop() {
			w := newRecorder()
			h.ServeHTTP(w, r)
			if w.status != want {
				b.Fatalf("got %d, want %d", w.status, want)
			}
			b.SetBytes(int64(w.body.Len()))
		}
	}
	b.Run("full", func(b *testing.B) { ask(b, "", http.StatusOK) })
	w := newRecorder()
	r := httptest.NewRequest(http.MethodGet, "/nodeinfo", nil)
	r.RemoteAddr = "127.0.0.1:1000"
	h.ServeHTTP(w, r)
	b.Run("304", func(b *testing.B) { ask(b, w.header.Get("ETag"), http.StatusNotModified) })
}

// BenchmarkMatrix: 10,000 cells, and a million.
func BenchmarkMatrix(b *testing.B) {
	for _, nodes := range []int{100, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) { benchMatrix(b, nodes) })
	}
}

func benchMatrix(b *testing.B, nodes int) {
	f := hundred()
	f.nodes, f.view, f.matrix, f.rows = nil, nil, nil, core.Matrix{}
	for i := range nodes {
		id := core.KeyHash{1, byte(i >> 8), byte(i)}.NodeID()
		f.nodes = append(f.nodes, core.Node{ID: id, FQDN: fmt.Sprintf("node%d.mesh.example", i), State: core.StateAlive})
		f.rows[id] = func(row *core.MatrixRow) {
			row.Reset()
			for j, n := range f.nodes {
				row.Paths = append(row.Paths, core.PathStatus{
					Source: id, Destination: n.ID, Probe: "https", Outcome: core.OutcomeSuccess, RTT: time.Duration(1+j) * time.Microsecond, At: time.Now(),
				})
			}
		}
	}
	h := newServer(f, nil).Handler()
	r := httptest.NewRequest(http.MethodGet, "https://localhost/api/v1/matrix", nil)
	r.RemoteAddr = "127.0.0.1:1000"
	b.ReportAllocs()
	for b.Loop() {
		w := &counter{header: http.Header{}}
		h.ServeHTTP(w, r)
		b.SetBytes(int64(w.bytes))
		b.ReportMetric(float64(w.bytes)/1e6, "body-MB")
	}
}

// counter is an answer that is counted.
type counter struct {
	header http.Header
	bytes  int
}

func (c *counter) Header() http.Header { return c.header }
func (c *counter) WriteHeader(int)     {}
func (c *counter) Write(b []byte) (int, error) {
	c.bytes += len(b)
	return len(b), nil
}

// BenchmarkMetrics: 1,000 peers with three probes.
func BenchmarkMetrics(b *testing.B) {
	f := twoNodes(testSelf.ID)
	f.nodes = nil
	for i := range 1000 {
		id := core.KeyHash{1, byte(i >> 8), byte(i)}.NodeID()
		f.nodes = append(f.nodes, core.Node{ID: id, FQDN: fmt.Sprintf("node%d.mesh.example", i), State: core.StateAlive})
		for probe, metrics := range map[string][]string{
			"https": {"certificate_expiry_timestamp_seconds", "retransmits_count"}, "pmtu": {"pmtu_forward_bytes", "pmtu_backward_bytes"},
			"stamp": {"loss_forward_ratio", "loss_backward_ratio", "jitter_forward_seconds", "jitter_backward_seconds"},
		} {
			p := core.PathStatus{Destination: id, Probe: probe, Outcome: core.OutcomeSuccess, RTT: time.Duration(i) * time.Microsecond, At: time.Now()}
			for _, name := range metrics {
				p.Metrics = append(p.Metrics, core.Metric{Name: name, Value: float64(i) / 1000})
			}
			f.view = append(f.view, p)
		}
	}
	h := newServer(f, nil).Handler()
	r := httptest.NewRequest(http.MethodGet, "https://localhost/metrics", nil)
	r.RemoteAddr = "127.0.0.1:1000"
	b.ReportAllocs()
	for b.Loop() {
		w := newRecorder()
		h.ServeHTTP(w, r)
		b.SetBytes(int64(w.body.Len()))
	}
}
