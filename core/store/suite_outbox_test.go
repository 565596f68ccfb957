package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// records makes one of each result and event.
func records(rs []core.Result, es []core.Event) []core.Record {
	var recs []core.Record
	for _, r := range rs {
		recs = append(recs, core.Record{Kind: core.RecordResult, At: r.Started, Payload: fmt.Appendf(nil, "result %d", r.Job.ID)})
	}
	for _, e := range es {
		recs = append(recs, core.Record{Kind: core.RecordEvent, At: e.Began, Payload: fmt.Appendf(nil, "event %d", e.ID)})
	}
	return recs
}

// saveRuns saves results with the job numbers from..to, one minute apart.
func saveRuns(t *testing.T, s *Store, from, to int) {
	t.Helper()
	var rs []core.Result
	for i := from; i <= to; i++ {
		rs = append(rs, result(1, uint64(i), epoch.Add(time.Duration(i)*time.Minute), 1))
	}
	must(t, s.SaveResults(t.Context(), rs))
}

func payloads(t *testing.T, s *Store, reporter string, maxRecords, maxBytes int) (got []string, last uint64) {
	t.Helper()
	recs, err := s.Pending(t.Context(), reporter, maxRecords, maxBytes)
	must(t, err)
	for _, r := range recs {
		if r.Seq <= last {
			t.Errorf("sequence %d after %d", r.Seq, last)
		}
		got, last = append(got, string(r.Payload)), r.Seq
	}
	return got, last
}

func wantPayloads(t *testing.T, s *Store, reporter string, maxRecords, maxBytes int, want ...string) uint64 {
	t.Helper()
	got, last := payloads(t, s, reporter, maxRecords, maxBytes)
	if !slices.Equal(got, want) {
		t.Errorf("pending for %s: got %q, want %q", reporter, got, want)
	}
	return last
}

func wantBacklog(t *testing.T, s *Store, want map[string]int) {
	t.Helper()
	got, err := s.Backlog(t.Context())
	must(t, err)
	if !maps.Equal(got, want) {
		t.Errorf("backlog: got %v, want %v", got, want)
	}
}

func outboxRows(t *testing.T, s *Store) int {
	t.Helper()
	n, err := s.reader.NewSelect().Model((*outboxRow)(nil)).Count(t.Context())
	must(t, err)
	return int(n)
}

var results = []core.RecordKind{core.RecordResult}

func testOutbox(t *testing.T, open opener) {
	s := open(t, Options{Records: records})
	must(t, s.AddReporter(t.Context(), "a", results))
	saveRuns(t, s, 1, 3)
	must(t, s.AddReporter(t.Context(), "late", results))
	must(t, s.AddReporter(t.Context(), "a", results)) // as at every start
	saveRuns(t, s, 4, 4)

	wantBacklog(t, s, map[string]int{"a": 4, "late": 1})
	wantPayloads(t, s, "a", 100, 1<<20, "result 1", "result 2", "result 3", "result 4")
	wantPayloads(t, s, "a", 100, 1, "result 1")
	wantPayloads(t, s, "nobody", 100, 1<<20)
	second := wantPayloads(t, s, "a", 2, 1<<20, "result 1", "result 2")
	must(t, s.Acknowledge(t.Context(), "a", second))
	must(t, s.Acknowledge(t.Context(), "a", 1)) // never back
	last := wantPayloads(t, s, "a", 100, 1<<20, "result 3", "result 4")
	if got := outboxRows(t, s); got != 2 {
		t.Errorf("got %d rows kept, want 2", got)
	}
	must(t, s.Acknowledge(t.Context(), "a", last))
	if got := outboxRows(t, s); got != 1 { // "late" still wants it
		t.Errorf("got %d rows kept, want 1", got)
	}
	must(t, s.RemoveReporter(t.Context(), "late"))
	if got := outboxRows(t, s); got != 0 {
		t.Errorf("got %d rows kept, want none", got)
	}
	wantBacklog(t, s, map[string]int{"a": 0})
	saveRuns(t, s, 5, 5)
	if next := wantPayloads(t, s, "a", 100, 1<<20, "result 5"); next <= last {
		t.Errorf("sequence %d was given again after %d", next, last)
	}
}

func testWants(t *testing.T, open opener) {
	s := open(t, Options{Records: records})
	must(t, s.AddReporter(t.Context(), "results", results))
	must(t, s.AddReporter(t.Context(), "events", []core.RecordKind{core.RecordEvent, core.RecordSnapshot}))
	must(t, s.AddReporter(t.Context(), "nothing", nil))
	saveRuns(t, s, 1, 2)
	es := []core.Event{{Kind: core.EventNodeStarted, Subject: "x", Began: epoch, Ended: epoch}}
	must(t, s.SaveEvents(t.Context(), es))
	saveRuns(t, s, 3, 3)

	wantPayloads(t, s, "nothing", 100, 1<<20)
	event := wantPayloads(t, s, "events", 100, 1<<20, fmt.Sprintf("event %d", es[0].ID))
	must(t, s.Acknowledge(t.Context(), "events", event))
	if got := outboxRows(t, s); got != 3 { // it does not hold the results up, nor they the event
		t.Errorf("got %d rows kept, want 3", got)
	}
	last := wantPayloads(t, s, "results", 100, 1<<20, "result 1", "result 2", "result 3")
	must(t, s.Acknowledge(t.Context(), "results", last))
	if got := outboxRows(t, s); got != 0 {
		t.Errorf("got %d rows kept, want none", got)
	}
}

func testTrimAge(t *testing.T, open opener) {
	const old = 34*60 - 1 // the last before a full hour, in the third step
	now := epoch.Add(36 * time.Hour)
	s := open(t, Options{Records: records, Now: func() time.Time { return now }})
	must(t, s.AddReporter(t.Context(), "a", results))
	must(t, s.AddReporter(t.Context(), "b", results))
	must(t, s.AddReporter(t.Context(), "events", []core.RecordKind{core.RecordEvent}))
	saveRuns(t, s, 1, old+2)
	second := wantPayloads(t, s, "b", 2, 1<<20, "result 1", "result 2")
	must(t, s.Acknowledge(t.Context(), "b", second))

	if gaps, err := s.TrimOutbox(t.Context(), 1<<30, 2*time.Hour); err != nil || len(gaps) > 0 {
		t.Errorf("the clock alone says that they are old: got %v, %v, want nothing", gaps, err)
	}
	must(t, s.write(t.Context(), func(ctx context.Context, c *commit) error { // of hours that were lived through
		for h := range int64(3) {
			row := chunkRow{ID: (now.UnixMilli()/hourMS-h)<<seriesBits | maxSeries, N: 1, Data: []byte{1}}
			if _, err := c.tx.NewInsert().Model(&row).Returning("").Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	}))
	gaps, err := s.TrimOutbox(t.Context(), 1<<30, 2*time.Hour)
	must(t, err)
	want := []core.Gap{
		{Reporter: "a", From: 1, To: old, Count: old},
		{Reporter: "b", From: 3, To: old, Count: old - 2},
	}
	if !slices.Equal(gaps, want) {
		t.Errorf("got %+v, want %+v", gaps, want)
	}
	wantBacklog(t, s, map[string]int{"a": 2, "b": 2, "events": 0})
	if gaps, err := s.TrimOutbox(t.Context(), 1<<30, 2*time.Hour); err != nil || len(gaps) > 0 {
		t.Errorf("trimmed again: got %v, %v, want nothing", gaps, err)
	}
}

func testTrimBytes(t *testing.T, open opener) {
	s := open(t, Options{Records: records})
	must(t, s.AddReporter(t.Context(), "a", results))
	saveRuns(t, s, 1, 9) // 8 bytes each
	gaps, err := s.TrimOutbox(t.Context(), 20, 100*365*24*time.Hour)
	must(t, err)
	if want := []core.Gap{{Reporter: "a", From: 1, To: 7, Count: 7}}; !slices.Equal(gaps, want) {
		t.Errorf("got %+v, want %+v", gaps, want)
	}
	wantPayloads(t, s, "a", 100, 1<<20, "result 8", "result 9")
}

func testAckAhead(t *testing.T, open opener) {
	s := open(t, Options{Records: records})
	must(t, s.AddReporter(t.Context(), "a", results))
	saveRuns(t, s, 1, 1)
	must(t, s.Acknowledge(t.Context(), "a", 1<<63+5))
	saveRuns(t, s, 2, 2)
	wantPayloads(t, s, "a", 100, 1<<20, "result 2")
}
