package cmd

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/store"
)

func TestShortHistory(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	full := core.Storage{
		MaxBytes: 10_000_000, Raw: 24 * time.Hour, Rollup: 30 * 24 * time.Hour, Results: now.Add(-9 * time.Hour), Sums: now.Add(-12 * 24 * time.Hour),
		Matrix: now.Add(-20 * time.Hour), Dropped: 1, LastDrop: now.Add(-time.Hour), Drops: map[string]time.Time{core.DropRaw: now.Add(-time.Hour)},
	}
	with := func(change func(*core.Storage)) core.Storage {
		st := full
		change(&st)
		return st
	}
	for want, st := range map[string]core.Storage{
		"single results of the last 9 h are kept instead of 24 h: storage.max_size is 10 MB": full,
		"hourly sums of the last 12 d are kept instead of 30 d: storage.max_size is 1.5 MB": with(func(st *core.Storage) {
			st.Drops, st.MaxBytes = map[string]time.Time{core.DropRollup: now}, 1_500_000
		}),
		"single results of the last 9 h are kept instead of 24 h, the matrix of the last 20 h is kept instead of 24 h, the oldest documents are dropped before their time: storage.max_size is 10 MB": with(func(st *core.Storage) {
			st.Drops = map[string]time.Time{core.DropRaw: now, core.DropMatrix: now, core.DropDocuments: now, core.DropReports: now.Add(-3 * time.Hour)}
		}),
		"the oldest events are dropped before their time: storage.max_size is 10 MB": with(func(st *core.Storage) { st.Drops = map[string]time.Time{core.DropEvents: now} }),
	} {
		if got := shortHistory(st, now); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for name, st := range map[string]core.Storage{
		"nothing dropped":     with(func(st *core.Storage) { st.Drops = nil }),
		"dropped a while ago": with(func(st *core.Storage) { st.Drops = map[string]time.Time{core.DropRaw: now.Add(-3 * time.Hour)} }),
	} {
		if got := shortHistory(st, now); got != "" {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// What goes for want of room becomes an event.
func TestDropsAreTold(t *testing.T) {
	n := &node{drops: make(chan struct{}, 1), self: core.Self{Started: time.Now()}}
	told := make(chan core.Event, 10)
	n.journal = core.NewJournal(nil, func(context.Context, []core.Event) error { return nil }, hclog.NewNullLogger())
	n.journal.OnChange = func(e core.Event) { told <- e }
	o := store.Options{Path: filepath.Join(t.TempDir(), databaseName), Dropped: n.dropped}
	fill(t, o)
	o.MaxBytes = 1_000_000
	var err error
	if n.store, err = store.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.watchStorage(ctx) }()
	if e := <-told; e.Kind != core.EventHistoryDropped || e.Message != "the oldest events are dropped before their time: storage.max_size is 1 MB" {
		t.Errorf("got %+v", e)
	}
	if c := n.checkDatabase(t.Context()); !c.Warning || !strings.HasPrefix(c.Problem, "the oldest events are dropped") {
		t.Errorf("health: got %+v", c)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := n.store.Close(); err != nil {
		t.Error(err)
	}
}

// What happened to the file is told by the health for hours, not only by an event
// that is over at once.
func TestMishapInHealth(t *testing.T) {
	n := &node{}
	n.journal = core.NewJournal(nil, func(context.Context, []core.Event) error { return nil }, hclog.NewNullLogger())
	var err error
	if n.store, err = store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), databaseName)}); err != nil {
		t.Fatal(err)
	}
	defer n.store.Close()
	n.mishapped(store.Mishap{Text: "the database is corrupt: all is lost"})
	if c := n.checkDatabase(t.Context()); !c.Warning || !strings.HasPrefix(c.Problem, "the database is corrupt: all is lost (20") {
		t.Errorf("got %+v", c)
	}
	n.mishap.Store(&mishap{at: time.Now().Add(-mishapFor), text: "long ago"})
	if c := n.checkDatabase(t.Context()); c.Problem != "" {
		t.Errorf("got %+v", c)
	}
}

// fill makes a database of more than a megabyte.
func fill(t *testing.T, o store.Options) {
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var events []core.Event
	for i := range 4000 {
		at := time.Now().Add(-time.Duration(i) * time.Second)
		events = append(events, core.Event{Kind: core.EventNodeJoined, Subject: "x", Message: strings.Repeat("x", 400), Began: at, Ended: at})
	}
	if err := s.SaveEvents(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestMegabytes: large limits are told in their unit.
func TestMegabytes(t *testing.T) {
	for n, want := range map[int64]string{
		10_000_000: "10 MB", 10_500_000: "10.5 MB", 999_000_000: "999 MB", 1_000_000_000: "1 GB", 2_500_000_000: "2.5 GB", 100_000_000_000_000: "100 TB",
	} {
		if got := megabytes(n); got != want {
			t.Errorf("%d bytes: got %s, want %s", n, got, want)
		}
	}
}
