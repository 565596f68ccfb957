package store

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// An hour that does not fit loses its begin, and nothing else goes for it.
func TestSizeOfABusyHour(t *testing.T) {
	var drops []Drop
	w := stopped(t, Options{MaxBytes: minMaxBytes, Dropped: func(d Drop) { drops = append(drops, d) }})
	begin := epoch.Truncate(24 * time.Hour)
	w.saveMany(t, 2*3600, begin.Add(-2*time.Hour), time.Second)
	rng := rand.New(rand.NewPCG(1, 2))
	at, worst, n := begin, int64(0), 0
	for at.Before(begin.Add(50 * time.Minute)) {
		rs := make([]core.Result, 1000)
		for i := range rs {
			at = at.Add(time.Duration(rng.IntN(60)) * time.Millisecond)
			rs[i] = result(i%20+1, 0, at, time.Duration(rng.IntN(1e9)))
			rs[i].Metrics = []core.Metric{{Name: "pmtu_bytes", Value: float64(1500 - rng.IntN(2))}}
		}
		w.save(t, rs...)
		n += len(rs)
		worst = max(worst, fileSize(w.s.o.Path)+fileSize(w.s.o.Path+"-wal"))
		w.settle(t, at)
		worst = max(worst, fileSize(w.s.o.Path)+fileSize(w.s.o.Path+"-wal"))
	}
	if worst > minMaxBytes || w.full {
		t.Errorf("got %d bytes at most, full: %v; want at most %d, not full", worst, w.full, minMaxBytes)
	}
	for _, d := range drops {
		if d.Kind != core.DropRaw || d.Rows <= 0 {
			t.Fatalf("got %+v dropped, want only %s", d, core.DropRaw)
		}
	}
	through := drops[len(drops)-1].Through
	if through.Before(begin.Add(10*time.Minute)) || through.After(at) {
		t.Errorf("dropped through %s, want some of the hour before %s", through, at)
	}
	if got := w.countRows(t); got < 20_000 {
		t.Errorf("got %d rows of %d, want what fits", got, n)
	}
	for what, q := range map[string]core.HistoryQuery{
		"the hour before": {From: begin.Add(-time.Hour), To: begin, Step: time.Hour},
		"what is left":    {From: at.Add(-time.Minute), To: at, Step: time.Minute},
	} {
		q.Node, q.Probe = node(1), "https"
		if got, err := w.s.History(t.Context(), q); err != nil || got[0].Runs == 0 {
			t.Errorf("%s: got %+v, %v; want some", what, got, err)
		}
	}
}

// What comes between two looks at the size is bounded, however fast it comes.
func TestSizeUnderLoad(t *testing.T) {
	s := open(t, Options{MaxBytes: minMaxBytes})
	worst, at := int64(0), epoch
	for range 100 {
		rs := make([]core.Result, 500)
		for i := range rs {
			at = at.Add(50 * time.Millisecond)
			rs[i] = result(i%20+1, 0, at, time.Millisecond)
		}
		must(t, s.SaveResults(t.Context(), rs))
		worst = max(worst, fileSize(s.o.Path)+fileSize(s.o.Path+"-wal"))
	}
	if worst > minMaxBytes {
		t.Errorf("got %d bytes at most, want at most %d", worst, minMaxBytes)
	}
}
