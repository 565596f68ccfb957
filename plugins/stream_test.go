package plugins

import (
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// However many jobs of other probes are under way and wait, a poll goes out at once.
func TestPollsDoNotWaitForOtherProbes(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newStream(8, 4096, time.Second)
	job := core.Job{Probe: "https", Identifies: true, Timeout: time.Second}
	s.offer(job, now)
	ids := []uint64{s.take(now).Jobs[0].Id}
	s.settle([]answer{{id: ids[0]}}, nil)
	other := core.Job{Probe: "trace", Timeout: time.Minute}
	for range 2000 {
		s.offer(other, now)
	}
	ids = ids[:0]
	for b := s.take(now); b != nil; b = s.take(now) {
		for _, j := range b.Jobs {
			ids = append(ids, j.Id)
		}
	}
	if len(ids) != 6 {
		t.Errorf("got %d of 8 places taken by others, want 6", len(ids))
	}
	for range 2 {
		s.offer(job, now)
		if b := s.take(now); b == nil || len(b.Jobs) != 1 || b.Jobs[0].Instance != "https" {
			t.Fatalf("got %v, want the poll", b)
		}
	}
	s.offer(job, now) // all places are taken
	s.settle([]answer{{id: ids[0]}}, nil)
	if b := s.take(now); b == nil || len(b.Jobs) != 1 || b.Jobs[0].Instance != "https" {
		t.Fatalf("got %v when a place is free, want the poll", b)
	}
	s.settle([]answer{{id: ids[1]}}, nil)
	if b := s.take(now); b == nil || len(b.Jobs) != 1 || b.Jobs[0].Instance != "trace" {
		t.Errorf("got %v, want the next of the others", b)
	}
}
