package core

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// eventRows is a store of events: one row per kind, subject and begin.
type eventRows struct {
	mu   sync.Mutex
	fail error
	rows map[string]Event
}

func (s *eventRows) save(_ context.Context, es []Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for i, e := range es {
		key := string(e.Kind) + e.Subject + e.Began.String()
		if known, ok := s.rows[key]; ok {
			es[i].ID = known.ID
		} else {
			es[i].ID = uint64(len(s.rows) + 1)
		}
		s.rows[key] = es[i]
	}
	return nil
}

func (s *eventRows) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func runJournal(t *testing.T, j *Journal) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := j.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); done.Wait() }
	t.Cleanup(stop)
	return stop
}

func TestJournalKeepsOneOpenEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &eventRows{rows: map[string]Event{}}
		j := NewJournal(nil, rows.save, hclog.NewNullLogger())
		var told []Event
		j.OnChange = func(e Event) { told = append(told, e) }
		stop := runJournal(t, j)
		j.Begin(EventNodeState, "a", "down")
		j.Begin(EventNodeState, "a", "down")
		j.Begin(EventNodeState, "b", "down")
		synctest.Wait()
		j.Begin(EventNodeState, "a", "still down")
		if open := j.Open(); len(open) != 2 || open[0].Subject != "a" || open[0].ID == 0 {
			t.Errorf("open %+v, want a and b with their ids", open)
		}
		time.Sleep(time.Minute)
		j.End(EventNodeState, "a")
		j.End(EventNodeState, "a")
		j.End(EventNodeState, "never")
		j.Note(EventNodeJoined, "c", "joined")
		j.Note(EventNodeJoined, "c", "joined")
		stop()
		if len(told) != 6 || len(rows.rows) != 4 {
			t.Errorf("told %d changes in %d rows, want 6 in 4", len(told), len(rows.rows))
		}
		for _, e := range rows.rows {
			want := time.Duration(0)
			if e.Subject == "a" {
				want = time.Minute
			}
			if e.Subject != "b" && e.Ended.Sub(e.Began).Round(time.Second) != want {
				t.Errorf("%s lasted %s, want %s", e.Subject, e.Ended.Sub(e.Began), want)
			}
		}
	})
}

func TestJournalContinues(t *testing.T) {
	rows := &eventRows{rows: map[string]Event{}}
	began := time.Unix(1000, 0)
	j := NewJournal([]Event{{ID: 9, Kind: EventNodeState, Subject: "a", Message: "down", Began: began}}, rows.save, hclog.NewNullLogger())
	stop := runJournal(t, j)
	j.Begin(EventNodeState, "a", "down")
	j.End(EventNodeState, "a")
	stop()
	if len(rows.rows) != 1 || len(j.Open()) != 0 {
		t.Fatalf("got rows %v", rows.rows)
	}
	for _, e := range rows.rows {
		if !e.Began.Equal(began) || e.Ended.IsZero() {
			t.Errorf("got %+v, want the old event ended", e)
		}
	}
}

func TestJournalOutlastsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &eventRows{rows: map[string]Event{}, fail: errors.New("disk full")}
		j := NewJournal(nil, rows.save, hclog.NewNullLogger())
		runJournal(t, j)
		j.Begin(EventNodeState, "a", "down")
		time.Sleep(10 * time.Second)
		j.End(EventNodeState, "a")
		for range maxUnsavedEvents + 10 {
			j.Note(EventNodeJoined, "b", "joined")
		}
		time.Sleep(time.Minute)
		rows.setFail(nil)
		time.Sleep(time.Minute)
		if len(rows.rows) != maxUnsavedEvents {
			t.Errorf("saved %d events, want the newest %d", len(rows.rows), maxUnsavedEvents)
		}
	})
}

func TestHubDropsTheOldestAndTells(t *testing.T) {
	var h Hub
	slow, cancel := h.Subscribe(4)
	quick, cancelQuick := h.Subscribe(64)
	for i := range 20 {
		h.Publish(Change{Kind: "n", Payload: i})
	}
	cancel()
	cancel()
	h.Publish(Change{Kind: "n", Payload: 20})
	cancelQuick()
	lost, got, last := 0, 0, -1
	for c := range slow {
		n := c.Payload.(int)
		if c.Kind == ChangeDropped {
			lost += n
			continue
		}
		if n <= last {
			t.Errorf("%d came after %d", n, last)
		}
		got, last = got+1, n
	}
	if got+lost != 20 || last != 19 || lost == 0 {
		t.Errorf("got %d changes and %d told as lost, last %d, want 20 in all", got, lost, last)
	}
	n := 0
	for range quick {
		n++
	}
	if n != 21 {
		t.Errorf("the quick one got %d changes, want 21", n)
	}
}

func TestHubUnderLoad(t *testing.T) {
	var h Hub
	var wg sync.WaitGroup
	const each = 2000
	ch, cancel := h.Subscribe(2)
	total := 0
	wg.Go(func() {
		for c := range ch {
			if c.Kind == ChangeDropped {
				total += c.Payload.(int)
			} else {
				total++
			}
		}
	})
	var pub sync.WaitGroup
	for range 4 {
		pub.Go(func() {
			for range each {
				h.Publish(Change{Kind: "n"})
			}
		})
	}
	pub.Wait()
	cancel()
	wg.Wait()
	if total != 4*each {
		t.Errorf("accounted for %d changes, want %d", total, 4*each)
	}
}

// A save that the end of the process breaks off is made up for by the last one.
func TestJournalEndsWithoutAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &eventRows{rows: map[string]Event{}}
		var said bytes.Buffer
		busy := true
		j := NewJournal(nil, func(ctx context.Context, es []Event) error {
			if busy {
				busy = false
				<-ctx.Done()
				return ctx.Err()
			}
			return rows.save(ctx, es)
		}, hclog.New(&hclog.LoggerOptions{Output: &said}))
		stop := runJournal(t, j)
		j.Note(EventNodeStarted, "self", "started")
		synctest.Wait()
		stop()
		if len(rows.rows) != 1 || said.Len() > 0 {
			t.Errorf("saved %d events, want 1; said %q, want nothing", len(rows.rows), said.String())
		}
	})
}

func TestEventOfAClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead := time.Now().Add(time.Hour)
		var told []Event
		j := NewJournal([]Event{{ID: 7, Kind: EventNodeState, Subject: "x", Began: ahead}}, nil, hclog.NewNullLogger())
		j.OnChange = func(e Event) { told = append(told, e) }
		j.End(EventNodeState, "x")
		if len(told) != 1 || !told[0].Ended.Equal(ahead) {
			t.Errorf("got %+v, want an end that is not before the beginning", told)
		}
	})
}
