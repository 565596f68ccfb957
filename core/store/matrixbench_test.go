//go:build !windows

package store

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// BenchmarkMatrix is the matrix of meshes in which all tell of four probes with
// their metrics: what reading it takes, now and as it was then, what the writer
// holds of it all the time, and its longest step.
func BenchmarkMatrix(b *testing.B) {
	for _, peers := range []int{100, 1000} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) { benchMatrix(b, peers) })
	}
}

func benchMatrix(b *testing.B, peers int) {
	w := stopped(b, Options{Path: filepath.Join(b.TempDir(), "nodeprobe.db"), MaxBytes: int64(peers) * 300_000})
	_, err := w.db.Exec("PRAGMA synchronous=OFF")
	must(b, err)
	m := newMesh(b, w, peers, epoch)
	m.pass(b, time.Minute) // its probes are known
	before := heapMB()
	for range 4 {
		m.now = m.now.Add(10 * time.Minute)
		m.tell(b, peers)
		m.maintain(b)
	}
	held := heapMB() - before
	for name, q := range map[string]time.Time{"now": {}, "past": m.now.Add(-20 * time.Minute)} {
		b.Run(name, func(b *testing.B) {
			benchQuestion(b, func() error { return askMatrix(b, w.s, q, peers) })
			b.ReportMetric(held, "held-MB")
			b.ReportMetric(m.longest.Seconds()*1000, "step-ms")
		})
	}
}

// tell has every peer tell its row.
func (m *mesh) tell(t testing.TB, peers int) {
	metrics := map[string][]string{
		"https": {"retransmits_count"}, "pmtu": {"pmtu_backward_bytes", "pmtu_forward_bytes"}, "trace": {"hops_count"},
		"stamp": {"jitter_backward_seconds", "jitter_forward_seconds", "loss_backward_ratio", "loss_forward_ratio"},
	}
	for source := 1; source <= peers; source++ {
		var said []core.PathStatus
		for d := range peers + 1 {
			for probe, names := range metrics {
				p := pair(source, d, m.now.Add(-time.Duration(m.rng.IntN(60_000))*time.Millisecond))
				p.Probe, p.RTT = probe, time.Duration(float64(int64(300_000)<<(source*d%9))*math.Exp(0.06*m.rng.NormFloat64()))
				for _, name := range names {
					v := 1500.
					if scaleOf(name) > 1 {
						v = float64(m.rng.IntN(20)) / 10_000
					}
					p.Metrics = append(p.Metrics, core.Metric{Name: name, Value: v})
				}
				said = append(said, p)
			}
		}
		m.do(t, &request{do: func(ctx context.Context, c *commit) error {
			views := map[core.NodeID]view{}
			c.keepView(views, node(source), said, m.now)
			return c.saveViews(ctx, views)
		}})
	}
}

func heapMB() float64 {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return float64(mem.HeapAlloc) / 1e6
}

// askMatrix reads the whole of it row by row, as the dashboard's question is answered.
func askMatrix(b *testing.B, s *Store, at time.Time, peers int) error {
	rows, err := s.Matrix(b.Context(), core.MatrixQuery{At: at, Probe: "https", Metric: "retransmits_count"})
	n := 0
	var row core.MatrixRow
	for _, read := range rows {
		read(&row)
		n += len(row.Paths)
	}
	if err == nil && n != peers*peers+peers && at.IsZero() || n < peers*peers/2 {
		err = fmt.Errorf("got %d paths", n)
	}
	return err
}
