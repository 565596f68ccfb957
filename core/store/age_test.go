package store

import (
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// A clock that is wrong and with which results are written deletes nothing of
// what is younger by the hours that were lived through; set right, all is as it
// would have been.
func TestWrongClock(t *testing.T) {
	const day = 24 * time.Hour
	for name, wrong := range map[string]time.Duration{"ten years ahead": 3652 * day, "a day ahead": day, "in 1970": -time.Duration(epoch.UnixNano()) + 48*time.Hour} {
		for span, lived := range map[string]int{"an hour": 1, "30 hours": 30} {
			t.Run(name+" for "+span, func(t *testing.T) {
				w := stopped(t, Options{})
				ended := core.Event{Kind: "x", Subject: "x", Began: epoch.Add(-time.Hour), Ended: epoch.Add(-time.Hour)}
				must(t, w.commit(t.Context(), []*request{{events: []core.Event{ended}}}))
				hours := func(from time.Time, n int) (there int) {
					got, err := w.s.History(t.Context(), core.HistoryQuery{
						Node: node(1), Probe: "https", From: from.Truncate(time.Hour), To: from.Add(time.Duration(n) * time.Hour).Truncate(time.Hour), Step: time.Hour,
					})
					must(t, err)
					for _, b := range got {
						there += min(b.Runs, 1)
					}
					return there
				}
				live := func(from time.Time, n int) {
					for h := range n {
						at := from.Add(time.Duration(h) * time.Hour)
						w.save(t, result(1, 0, at, time.Millisecond))
						w.settle(t, at.Add(time.Minute))
					}
				}
				begin := epoch.Add(-40 * time.Hour)
				live(begin, 40) // of which 16 are in roll-ups only
				was := w.packed.rows
				live(epoch.Add(wrong), lived)
				if lived == 1 && w.packed.rows < was {
					t.Errorf("%d single results are left of %d", w.packed.rows, was)
				}
				// Right again: what is new has its hour of single results.
				live(epoch.Add(time.Duration(lived)*time.Hour), 26)
				if got := hours(begin, 40); got != 40 {
					t.Errorf("got %d hours of before, want 40", got)
				}
				now := epoch.Add(time.Duration(lived) * time.Hour)
				if got := hours(now, 26); got != 26 {
					t.Errorf("got %d hours of after, want 26", got)
				}
				var single int
				must(t, w.s.reader.QueryRow("SELECT COUNT(*) FROM poll_results WHERE ts_ms BETWEEN ? AND ?",
					now.Add(2*time.Hour).UnixMilli(), now.Add(27*time.Hour).UnixMilli()).Scan(&single))
				if single != 24 {
					t.Errorf("got %d single results of the last 24 hours", single)
				}
				events, err := w.s.Events(t.Context(), core.EventQuery{})
				must(t, err)
				if len(events) != 1 {
					t.Errorf("got %d events, want 1", len(events))
				}
			})
		}
	}
}

// TestClockAheadWithinHour: what was measured in an hour before the clock was
// ahead, and after it, is all of that hour.
func TestClockAheadWithinHour(t *testing.T) {
	w := stopped(t, Options{})
	hour := epoch.Truncate(time.Hour)
	saveAt := func(at time.Time, n int) {
		for i := range n {
			w.save(t, result(1, 0, at.Add(time.Duration(i)*time.Second), time.Millisecond))
		}
		w.settle(t, at.Add(time.Minute))
	}
	want := func(when string, n int) {
		t.Helper()
		got, err := w.s.History(t.Context(), core.HistoryQuery{Node: node(1), Probe: "https", From: hour, To: hour.Add(time.Hour), Step: time.Hour})
		must(t, err)
		if got[0].Runs != n {
			t.Errorf("%s: the hour has %d runs, want %d", when, got[0].Runs, n)
		}
	}
	saveAt(hour.Add(10*time.Minute), 10)
	for h := range 30 {
		saveAt(hour.Add(3652*24*time.Hour+time.Duration(h)*time.Hour), 1)
	}
	want("ahead", 10)
	saveAt(hour.Add(40*time.Minute), 10)
	want("right again", 20)
	for h := range 30 {
		saveAt(hour.Add(time.Duration(h+1)*time.Hour), 1)
	}
	want("a day later", 20)
}
