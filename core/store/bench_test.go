//go:build !windows

package store

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// BenchmarkSaveResults is what one result costs in processor time, committed
// with synchronous=FULL, by how many share a transaction. The
// engine saves once a second: 10 is a node that gets 10 results a second.
func BenchmarkSaveResults(b *testing.B) {
	for _, size := range []int{1, 10, 256, 1000} {
		for _, metrics := range []int{0, 3} {
			b.Run(fmt.Sprintf("group=%d/metrics=%d", size, metrics), func(b *testing.B) { benchSave(b, size, metrics) })
		}
	}
}

func benchSave(b *testing.B, size, metrics int) {
	const peers = 100
	s := open(b, Options{Path: filepath.Join(b.TempDir(), "nodeprobe.db")})
	batch := make([]core.Result, size)
	var job uint64
	fill := func(at time.Time) {
		for i := range batch {
			job++
			batch[i] = result(int(job%peers)+1, job, at.Add(time.Duration(i)*time.Millisecond), time.Duration(10+job%7)*time.Millisecond)
			for _, name := range []string{"loss_ratio", "jitter_seconds", "pmtu_bytes"}[:metrics] {
				batch[i].Metrics = append(batch[i].Metrics, core.Metric{Name: name, Value: float64(job % 1000)})
			}
		}
	}
	for i := range 3 { // series are made once
		fill(epoch.Add(time.Duration(i) * time.Second))
		must(b, s.SaveResults(b.Context(), batch))
	}
	before, n := cpuTime(b), 0
	for i := 0; b.Loop(); i++ {
		fill(epoch.Add(time.Duration(i+10) * time.Second))
		must(b, s.SaveResults(b.Context(), batch))
		n += size
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(n), "cpu-us/result")
}

// BenchmarkWriter is the same with all that follows from it: packing, rolling up
// and trimming. Time is counted in results, rate of them a second.
func BenchmarkWriter(b *testing.B) {
	for _, c := range []struct{ rate, size int }{{10, 10}, {1000, 256}} {
		b.Run(fmt.Sprintf("rate=%d", c.rate), func(b *testing.B) {
			w := stopped(b, Options{Path: filepath.Join(b.TempDir(), "nodeprobe.db")})
			rng, now := rand.New(rand.NewPCG(1, 2)), epoch
			peers, next := 30*c.rate/10, now
			if c.rate > 100 {
				peers = c.rate
			}
			batch := make([]core.Result, c.size)
			n, before := 0, cpuTime(b)
			for b.Loop() {
				for i := range batch {
					n++
					now = now.Add(time.Second / time.Duration(c.rate))
					batch[i] = result(n%peers+1, uint64(n), now, time.Duration(float64(10*time.Millisecond)*math.Exp(0.06*rng.NormFloat64())))
				}
				w.save(b, batch...)
				if now.Before(next) {
					continue
				}
				for next = now.Add(maintainEvery); w.maintain(b.Context(), now); {
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(n), "cpu-us/result")
		})
	}
}

// BenchmarkQuestions is what the questions of the dashboard take, over 24 h of
// peers with the probes that ship: the time that 99 in 100 stay below, processor time, and
// what is allocated from begin to end, which is more than is held at any moment.
func BenchmarkQuestions(b *testing.B) {
	for _, peers := range []int{100, 1000} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) { benchQuestions(b, peers) })
	}
}

func benchQuestions(b *testing.B, peers int) {
	path := filepath.Join(b.TempDir(), "nodeprobe.db")
	w := stopped(b, Options{Path: path, MaxBytes: int64(peers) * 100_000})
	_, err := w.db.Exec("PRAGMA synchronous=OFF")
	must(b, err)
	m := newMesh(b, w, peers, epoch)
	for range 25 * 6 {
		m.pass(b, 10*time.Minute)
	}
	m.pass(b, 9*time.Minute) // the tail is as long as it gets
	s, from := w.s, m.now.Add(-24*time.Hour)
	if n := fileSize(path); n > w.s.o.MaxBytes {
		b.Errorf("got %d bytes, want at most %d", n, w.s.o.MaxBytes)
	}
	b.ReportMetric(float64(w.tailRows), "tail-rows")
	for name, ask := range map[string]func() error{
		"latest": func() error { _, err := s.Latest(b.Context()); return err },
		"history": func() error {
			_, err := s.History(b.Context(), core.HistoryQuery{Node: node(7), Probe: "https", From: from, To: m.now, Step: 5 * time.Minute})
			return err
		},
		"history of a metric": func() error {
			_, err := s.History(b.Context(), core.HistoryQuery{
				Node: node(7), Probe: "stamp", Metric: "jitter_forward_seconds", From: from, To: m.now, Step: 5 * time.Minute,
			})
			return err
		},
		"percentiles": func() error {
			got, err := s.Percentiles(b.Context(), core.WindowQuery{Probe: "https", From: from, To: m.now})
			if err == nil && len(got) != peers {
				err = fmt.Errorf("got %d peers, want %d", len(got), peers)
			}
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			benchQuestion(b, ask)
		})
	}
}

func benchQuestion(b *testing.B, ask func() error) {
	var took []time.Duration
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	before, allocated := cpuTime(b), mem.TotalAlloc
	for b.Loop() {
		begin := time.Now()
		must(b, ask())
		took = append(took, time.Since(begin))
	}
	b.ReportMetric((cpuTime(b)-before).Seconds()*1000/float64(len(took)), "cpu-ms")
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(mem.TotalAlloc-allocated)/1e6/float64(len(took)), "alloc-MB")
	slices.Sort(took)
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
}

// BenchmarkSlots is what a day of the matrix takes: bytes, and processor time.
func BenchmarkSlots(b *testing.B) {
	for b.Loop() {
		before := cpuTime(b)
		m, bytes := sizeOfSlots(b, 100, 181, Options{})
		b.ReportMetric(float64(bytes), "bytes")
		b.ReportMetric((cpuTime(b)-before).Seconds()*1000/181, "cpu-ms/slot")
		begin := time.Now()
		for range 20 {
			_, err := pathsOf(b.Context(), m.w.s, core.MatrixQuery{At: m.now.Add(-12 * time.Hour)})
			must(b, err)
		}
		b.ReportMetric(time.Since(begin).Seconds()*1000/20, "past-ms")
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
