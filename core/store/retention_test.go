package store

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// stopped is an open store whose writer has ended, so that the test can be it.
func stopped(t testing.TB, o Options) *writer {
	t.Helper()
	s := open(t, o)
	close(s.requests)
	<-s.done
	s.closed = true
	s.requests = nil
	t.Cleanup(func() {
		if s.lock.Close() != nil {
			return // the test has closed it
		}
		must(t, s.reader.Close())
		must(t, s.writer.Close())
	})
	w, err := s.newWriter(t.Context())
	must(t, err)
	return w
}

func (w *writer) save(t testing.TB, rs ...core.Result) {
	t.Helper()
	r := &request{results: rs, done: make(chan error, 1)}
	w.commitGroup([]*request{r})
	must(t, <-r.done)
}

// live saves a result every hour: time that nothing tells of does not count.
func (w *writer) live(t *testing.T, n int, from, to time.Time) {
	t.Helper()
	var rs []core.Result
	for at := from; !at.After(to); at = at.Add(time.Hour) {
		rs = append(rs, result(n, 0, at, 1))
	}
	w.save(t, rs...)
}

func (w *writer) saveMany(t *testing.T, n int, from time.Time, every time.Duration) {
	t.Helper()
	rs := make([]core.Result, n)
	for i := range rs {
		rs[i] = result(i%5+1, 0, from.Add(time.Duration(i)*every), time.Millisecond)
	}
	w.save(t, rs...)
}

// settle maintains until nothing is left to do.
func (w *writer) settle(t *testing.T, now time.Time) (steps int) {
	t.Helper()
	for w.maintain(context.Background(), now) {
		if steps++; steps > 10_000 {
			t.Fatal("maintenance does not come to an end")
		}
	}
	must(t, w.s.fault)
	return steps
}

func (w *writer) countRows(t *testing.T) int64 {
	t.Helper()
	var tail, packed int64
	must(t, w.db.QueryRow("SELECT COUNT(*) FROM tail").Scan(&tail))
	must(t, w.db.QueryRow("SELECT COALESCE(SUM(n), 0) FROM chunk").Scan(&packed))
	if tail != w.tailRows || packed != w.packed.rows {
		t.Errorf("the writer counts %d and %d rows, there are %d and %d", w.tailRows, w.packed.rows, tail, packed)
	}
	return tail + packed
}

func TestAge(t *testing.T) {
	w := stopped(t, Options{Raw: time.Hour})
	w.saveMany(t, 2500, epoch, time.Second) // 41 min 40 s
	now := epoch.Add(2*time.Hour - time.Minute)
	if w.settle(t, now); w.countRows(t) != 2500 {
		t.Error("results younger than an hour before the newest one went")
	}
	w.save(t, result(1, 0, now.Add(time.Minute), 1))
	w.settle(t, now.Add(time.Minute))
	if got := w.countRows(t); got != 2501 {
		t.Errorf("got %d rows, want all: time without results does not count", got)
	}
	now = now.Add(time.Hour + time.Minute)
	w.save(t, result(1, 0, now, 1))
	w.settle(t, now)
	if got := w.countRows(t); got != 2 {
		t.Errorf("got %d rows, want 2: an hour goes when all of it is too old", got)
	}
	// A clock that jumps ahead deletes nothing by itself.
	if w.settle(t, now.Add(1000*time.Hour)); w.countRows(t) != 2 {
		t.Error("a clock far ahead emptied the history")
	}
}

func TestSize(t *testing.T) {
	var drops []Drop
	w := stopped(t, Options{MaxBytes: minMaxBytes, Dropped: func(d Drop) { drops = append(drops, d) }})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		rs := make([]core.Result, 1000)
		at := epoch.Add(time.Duration(i) * 500 * time.Second)
		for n := range rs {
			at = at.Add(time.Duration(rng.IntN(1000)) * time.Millisecond)
			rs[n] = result(n%20+1, 0, at, time.Duration(rng.IntN(1e8)))
		}
		w.save(t, rs...)
		w.settle(t, at)
		if got := fileSize(w.s.o.Path) + fileSize(w.s.o.Path+"-wal"); got > minMaxBytes {
			t.Fatalf("after %d results: %d bytes, want at most %d", 1000*(i+1), got, minMaxBytes)
		}
		if w.used > minMaxBytes {
			t.Fatalf("after %d results: %d bytes used, want at most %d", 1000*(i+1), w.used, minMaxBytes)
		}
	}
	rows := w.countRows(t)
	if rows < 50_000 || rows >= 200_000 {
		t.Errorf("got %d rows, want what fits", rows)
	}
	dropped := int64(0)
	for _, d := range drops {
		if dropped += d.Rows; d.Kind != core.DropRaw {
			t.Errorf("got %s dropped, want only %s", d.Kind, core.DropRaw)
		}
	}
	if got := w.s.Counts().Dropped[core.DropRaw]; got != uint64(dropped) {
		t.Errorf("got %d rows counted, want %d", got, dropped)
	}
	if st := w.s.stats; dropped != 200_000-rows || st.DroppedForSize != uint64(dropped) || st.LastDrop.IsZero() || st.Dropped != drops[len(drops)-1] {
		t.Errorf("got %d dropped, %+v; want %d", dropped, st, 200_000-rows)
	}
	// The sums of what went are left.
	got, err := w.s.History(t.Context(), core.HistoryQuery{
		Node: node(1), Probe: "https", From: epoch, To: epoch.Add(48 * time.Hour), Step: time.Hour,
	})
	must(t, err)
	runs := 0
	for _, b := range got {
		runs += b.Runs
	}
	if runs != 200_000/20 {
		t.Errorf("got %d runs of one path, want all %d", runs, 200_000/20)
	}
}

// What is not results pushes out single results, then hourly sums, then events
// that are over; but not the newest hour and what still lasts.
func TestSizeKeepsTheNewest(t *testing.T) {
	var kinds []string
	w := stopped(t, Options{MaxBytes: minMaxBytes, Dropped: func(d Drop) { kinds = append(kinds, d.Kind) }})
	w.saveMany(t, 3*3600, epoch, time.Second)
	w.commitGroup([]*request{{done: make(chan error, 1), events: []core.Event{
		{Kind: core.EventNodeState, Subject: "over", Began: epoch, Ended: epoch.Add(time.Second)},
		{Kind: core.EventNodeState, Subject: "lasts", Began: epoch},
	}}})
	much := make([]byte, 2*minMaxBytes)
	_, _ = rand.NewChaCha8([32]byte{}).Read(much)
	_, err := w.db.Exec("INSERT INTO outbox (kind, at_ms, payload) VALUES ('x', 0, ?)", much)
	must(t, err)
	w.settle(t, epoch.Add(3*time.Hour))
	if got := w.countRows(t); got != 3600 || !w.full {
		t.Errorf("got %d rows, full: %v; want the newest 3600, told", got, w.full)
	}
	if want := []string{core.DropRaw, core.DropRollup, core.DropEvents}; !slices.Equal(slices.Compact(kinds), want) {
		t.Errorf("dropped %q, want %q", kinds, want)
	}
	if events, err := w.s.Events(t.Context(), core.EventQuery{}); err != nil || len(events) != 1 || events[0].Subject != "lasts" {
		t.Errorf("got %v, %v; want the event that lasts", events, err)
	}
	// When it is gone the file shrinks again.
	_, err = w.db.Exec("DELETE FROM outbox")
	must(t, err)
	w.settle(t, epoch.Add(3*time.Hour))
	if got := fileSize(w.s.o.Path); got > minMaxBytes || w.full {
		t.Errorf("got %d bytes, want at most %d", got, minMaxBytes)
	}
}

func TestTidy(t *testing.T) {
	w := stopped(t, Options{Raw: time.Hour, Rollup: 24 * time.Hour})
	gone := result(7, 0, epoch, 1)
	gone.Metrics = []core.Metric{{Name: "x_ratio", Value: 1}}
	w.save(t, gone, failure(7, 0, epoch, core.OutcomeFailure, "timeout", "said once"), withView(3, epoch, pair(3, 2, epoch)))
	now := epoch.Add(25 * time.Hour)
	w.live(t, 1, now.Add(-time.Hour), now)
	w.settle(t, now)
	must(t, w.tidyCodes(t.Context()))
	if n := len(w.paths.paths); n != 3 {
		t.Errorf("got %d paths, want 3: roll-ups of all are left", n)
	}
	w.live(t, 1, now, epoch.Add(32*24*time.Hour))
	now = epoch.Add(32 * 24 * time.Hour)
	w.settle(t, now)
	for model, want := range map[any]int{(*seriesRow)(nil): 1, (*latestRow)(nil): 1, (*viewRow)(nil): 0, (*codeRow)(nil): 4} {
		n, err := w.db.NewSelect().Model(model).Count(t.Context())
		must(t, err)
		if int(n) != want {
			t.Errorf("%T: got %d rows, want %d", model, n, want)
		}
	}
	w.save(t, gone) // made anew
	if len(w.paths.paths) != 2 {
		t.Errorf("got %d paths, want 2", len(w.paths.paths))
	}
}

// An hour that is being dropped, step by step, counts once: its sums have all of it.
func TestHalfDroppedHour(t *testing.T) {
	w := stopped(t, Options{})
	const peers = dropRows + 50
	var rs []core.Result
	for n := range peers {
		rs = append(rs, result(n+1, 0, epoch.Add(time.Minute), time.Millisecond))
	}
	w.save(t, append(rs, result(1, 0, epoch.Add(3*time.Hour), time.Millisecond))...)
	now := epoch.Add(3*time.Hour + time.Minute)
	w.wanted = epoch.Add(time.Hour).UnixMilli() / hourMS
	w.settle(t, now)
	_, err := w.dropHour(t.Context(), epoch.UnixMilli()/hourMS)
	must(t, err)
	if n, err := w.db.NewSelect().Model((*chunkRow)(nil)).Where("id < ?", epoch.Add(time.Hour).UnixMilli()/hourMS<<seriesBits).Count(t.Context()); err != nil || n != peers-dropRows {
		t.Fatalf("%d chunks are left, %v; want %d", n, err, peers-dropRows)
	}
	got, err := w.s.Percentiles(t.Context(), core.WindowQuery{Probe: "https", From: epoch, To: epoch.Add(time.Hour)})
	must(t, err)
	if len(got) != peers {
		t.Errorf("got %d peers, want %d", len(got), peers)
	}
	for _, p := range got {
		if p.Runs != 1 {
			t.Errorf("%s: got %d runs, want 1", p.Node, p.Runs)
		}
	}
	for _, n := range []int{1, peers} {
		got, err := w.s.History(t.Context(), core.HistoryQuery{Node: node(n), Probe: "https", From: epoch, To: epoch.Add(time.Hour), Step: time.Hour})
		if must(t, err); got[0].Runs != 1 {
			t.Errorf("node %d: got %d runs, want 1", n, got[0].Runs)
		}
	}
}

// Events are as many as there is room for: all of a quiet node's, a share of a
// busy one's, and that before results have to go for them.
func TestEventsFollowSpace(t *testing.T) {
	save := func(w *writer, n int) {
		t.Helper()
		for part := range slices.Chunk(make([]core.Event, n), 1000) {
			for i := range part {
				n--
				at := epoch.Add(-time.Duration(n) * time.Minute)
				part[i] = core.Event{Kind: core.EventNodeState, Subject: node(i).String(), Message: "no answer for 3 polls: timeout", Began: at, Ended: at.Add(time.Second)}
			}
			r := &request{events: part, done: make(chan error, 1)}
			w.commitGroup([]*request{r})
			must(t, <-r.done)
		}
		must(t, w.measureEvents(t.Context()))
	}
	count := func(w *writer) int64 {
		t.Helper()
		n, err := w.db.NewSelect().Model((*eventRow)(nil)).Count(t.Context())
		must(t, err)
		return int64(n)
	}
	quiet := stopped(t, Options{MaxBytes: 20_000_000})
	save(quiet, 12_000)
	if quiet.settle(t, epoch); count(quiet) != 12_000 {
		t.Errorf("a quiet node has %d events, want all 12000", count(quiet))
	}
	var kinds []string
	busy := stopped(t, Options{MaxBytes: minMaxBytes, Dropped: func(d Drop) { kinds = append(kinds, d.Kind) }})
	save(busy, 3000)
	if busy.settle(t, epoch); busy.events > minMaxBytes/eventShare || busy.events < minMaxBytes/eventShare/2 {
		t.Errorf("%d events take %d bytes, want up to %d", count(busy), busy.events, minMaxBytes/eventShare)
	}
	for hour := range 8 {
		busy.saveMany(t, 3600, epoch.Add(time.Duration(hour)*time.Hour), time.Second)
		busy.settle(t, epoch.Add(time.Duration(hour+1)*time.Hour))
	}
	if kinds = slices.Compact(kinds); len(kinds) > 1 || busy.events < minMaxBytes/eventLeast/2 {
		t.Errorf("dropped %q, events take %d bytes; want events before results, to %d", kinds, busy.events, minMaxBytes/eventLeast)
	}
}

// A transaction that fails leaves nothing in the writer's memory that is not in
// the database, and costs only the request that is to blame.
func TestFailedCommit(t *testing.T) {
	w := stopped(t, Options{})
	broken := &request{done: make(chan error, 1), do: func(ctx context.Context, c *commit) error {
		_, err := c.tx.ExecContext(ctx, "INSERT INTO nowhere VALUES (1)")
		return err
	}}
	good := &request{done: make(chan error, 1), results: []core.Result{failure(1, 1, epoch, core.OutcomeFailure, "r", "m")}}
	w.commitGroup([]*request{good, broken})
	if err := <-broken.done; err == nil {
		t.Error("the broken request succeeded")
	}
	must(t, <-good.done)
	if got := w.countRows(t); got != 1 {
		t.Errorf("got %d rows, want 1", got)
	}

	_, err := w.db.Exec("ALTER TABLE latest RENAME TO hidden")
	must(t, err)
	r := result(2, 2, epoch, 1)
	r.Metrics = []core.Metric{{Name: "x_ratio", Value: 1}}
	again := failure(2, 3, epoch, core.OutcomeFailure, "new", "new")
	failed := &request{done: make(chan error, 1), results: []core.Result{r, again}}
	w.commitGroup([]*request{failed})
	if err := <-failed.done; err == nil || w.s.fault == nil {
		t.Fatalf("got %v, fault %v, want errors", err, w.s.fault)
	}
	_, err = w.db.Exec("ALTER TABLE hidden RENAME TO latest")
	must(t, err)
	w.save(t, r, again)
	if got := w.countRows(t); got != 4 || w.s.fault != nil {
		t.Errorf("got %d rows, fault %v; want 4, none", got, w.s.fault)
	}
}

// The history begins with its first result, not with that hour.
func TestOldestIsTheFirstResult(t *testing.T) {
	w := stopped(t, Options{})
	first := epoch.Add(27 * time.Minute)
	for i := range 90 {
		at := first.Add(time.Duration(i) * time.Minute)
		w.save(t, result(2, uint64(i+1), at, time.Millisecond), result(1, uint64(i+1), at.Add(time.Second), time.Millisecond))
		w.settle(t, at.Add(time.Second))
	}
	if got := w.s.stats.Oldest; !got.Equal(first) {
		t.Errorf("got %s, want %s", got.UTC(), first)
	}
}
