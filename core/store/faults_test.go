package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// turnReadOnly has the writer's connection find the file read-only.
func turnReadOnly(t *testing.T, s *Store) {
	t.Helper()
	must(t, s.write(t.Context(), func(ctx context.Context, c *commit) error {
		_, err := c.tx.ExecContext(ctx, "PRAGMA query_only(1)")
		return err
	}))
}

// eventually waits for what the store does by itself, each try being a change
// that makes it look.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in a minute")
		}
	}
}

// mishaps collects what is told.
type mishaps struct {
	mu  sync.Mutex
	all []Mishap
}

func (m *mishaps) add(x Mishap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, x)
}

func (m *mishaps) want(t *testing.T, texts ...string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) != len(texts) {
		t.Fatalf("told %+v, want %q", m.all, texts)
	}
	for i, x := range m.all {
		if !strings.Contains(x.Text, texts[i]) {
			t.Errorf("told %q, want %q in it", x.Text, texts[i])
		}
	}
}

// TestReadOnlyConnection: a fault that is over when the file is opened anew costs
// nothing, not even an error.
func TestReadOnlyConnection(t *testing.T) {
	s := open(t, Options{})
	saveRuns(t, s, 1, 30)
	turnReadOnly(t, s)
	saveRuns(t, s, 31, 59)
	if got := runs(t, s, 1); got != 59 {
		t.Errorf("got %d runs, want 59", got)
	}
	must(t, s.Check(t.Context()))
}

func TestFileDeleted(t *testing.T) {
	for name, gone := range map[string][]string{"the file": {""}, "all": {"", "-wal", "-shm"}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "nodeprobe.db")
			s := open(t, Options{Path: path})
			var told mishaps
			s.OnMishap(told.add)
			saveRuns(t, s, 1, 30)
			for _, part := range gone {
				must(t, os.Remove(path+part))
			}
			saveRuns(t, s, 31, 59)
			if got := runs(t, s, 1); got != 59 {
				t.Errorf("got %d runs, want 59", got)
			}
			must(t, s.Check(t.Context()))
			must(t, s.Close())
			told.want(t, "written back")
			if got := runs(t, open(t, Options{Path: path}), 1); got != 59 {
				t.Errorf("got %d runs after a start, want 59", got)
			}
		})
	}
}

// TestDirectoryGone: nothing is acknowledged that nobody would find.
func TestDirectoryGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "nodeprobe.db")
	s := open(t, Options{Path: path})
	saveRuns(t, s, 1, 10)
	must(t, os.RemoveAll(dir))
	for range 2 {
		if err := s.SaveResults(t.Context(), []core.Result{result(1, 11, epoch, 1)}); err == nil {
			t.Error("a result was acknowledged")
		}
		if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "gone") {
			t.Errorf("health says %v", err)
		}
	}
	must(t, os.Mkdir(dir, 0o700))
	eventually(t, func() bool { return s.SaveResults(t.Context(), []core.Result{result(1, 11, epoch, 1)}) == nil })
	must(t, s.Check(t.Context()))
	if got := runs(t, s, 1); got != 11 {
		t.Errorf("got %d runs, want 11", got)
	}
}

func TestFileReplaced(t *testing.T) {
	dir := t.TempDir()
	backup := filepath.Join(dir, "backup.db")
	s := open(t, Options{Path: backup})
	saveRuns(t, s, 1, 10)
	must(t, s.Close())

	path := filepath.Join(dir, "nodeprobe.db")
	s = open(t, Options{Path: path})
	var told mishaps
	s.OnMishap(told.add)
	saveRuns(t, s, 11, 20)
	must(t, os.Rename(backup, path))
	saveRuns(t, s, 21, 50)
	if got := runs(t, s, 1); got != 40 {
		t.Errorf("got %d runs, want the 10 of the new file and 30", got)
	}
	told.want(t, "replaced")
	must(t, s.Close())
	_, aside, _ := strings.Cut(told.all[0].Text, "had is in ")
	if got := runs(t, open(t, Options{Path: aside}), 1); got != 10 {
		t.Errorf("got %d runs beside it, want 10", got)
	}
}

// garble overwrites pages, counted from 0.
func garble(t *testing.T, path string, pages ...int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	for _, p := range pages {
		_, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, pageSize), p*pageSize)
		must(t, err)
	}
}

// TestCorruptWhileRunning: found on a commit or by a reader, told, moved aside,
// and the process goes on with what could be read.
func TestCorruptWhileRunning(t *testing.T) {
	for _, by := range []string{"a writer", "a reader"} {
		t.Run(by, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "nodeprobe.db")
			s := open(t, Options{Path: path})
			var told mishaps
			s.OnMishap(told.add)
			saveRuns(t, s, 1, 1400)
			must(t, s.SaveNodes(t.Context(), []core.Node{{ID: node(1), Endpoints: []core.Endpoint{{Host: "a", Port: 1}}}}))
			must(t, drain(s.writer.QueryContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")))
			var root int64
			must(t, s.reader.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = 'event_of'").Scan(&root))
			if by == "a reader" {
				must(t, s.reader.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = 'report'").Scan(&root))
			}
			garble(t, path, root-1)
			unheld(t, s) // or it would be in their caches
			if by == "a reader" {
				_, err := s.Reports(t.Context())
				if faultOf(err) != faultCorrupt {
					t.Errorf("reports: %v", err)
				}
				eventually(t, func() bool { _, err := s.Reports(t.Context()); return err == nil })
			} else {
				must(t, s.SaveEvents(t.Context(), []core.Event{{Kind: "x", Subject: "x", Began: epoch}}))
			}
			told.want(t, "is corrupt")
			must(t, s.Check(t.Context()))
			if got := runs(t, s, 1); got != 59 {
				t.Errorf("got %d runs, want 59", got)
			}
			nodes, err := s.Nodes(t.Context())
			must(t, err)
			if _, err := os.Stat(s.Recovered()); err != nil || len(nodes) != 1 {
				t.Errorf("got %d nodes, want 1; the old file: %v", len(nodes), err)
			}
		})
	}
}

// TestSalvage garbles one page of the tail, of the chunks and of the roll-ups
// each: what is on the other ones is there afterwards.
func TestSalvage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	w := stopped(t, Options{Path: path, Raw: 6 * time.Hour, Now: func() time.Time { return epoch }})
	begin := epoch.Add(-100 * time.Hour)
	for hour := range 100 {
		rs := make([]core.Result, 600)
		for i := range rs {
			rs[i] = result(i%60+1, 0, begin.Add(time.Duration(hour)*time.Hour+time.Duration(i)*6*time.Second), time.Millisecond)
		}
		w.save(t, rs...)
		if hour%4 == 3 {
			w.settle(t, begin.Add(time.Duration(hour)*time.Hour))
		}
	}
	w.saveMany(t, 2000, epoch.Add(-time.Hour), time.Second)
	before := tableRows(t, w.s)
	var pages []int64
	for _, table := range []string{"tail", "chunk", "rollup"} {
		var leaf int64
		must(t, w.db.QueryRow("SELECT MAX(pageno) FROM dbstat WHERE name = ? AND pagetype = 'leaf' AND path <> '/' AND ncell > 3", table).Scan(&leaf))
		pages = append(pages, leaf-1)
	}
	must(t, w.s.reader.Close())
	must(t, w.s.writer.Close())
	must(t, w.s.lock.Close())
	garble(t, path, pages...)
	s := open(t, Options{Path: path, every: time.Hour})
	after := tableRows(t, s)
	for table, was := range before {
		t.Logf("%s: %d of %d rows", table, after[table], was)
		least := was
		switch table {
		case "tail":
			least = was - 300 // those of a page
		case "chunk", "rollup":
			least = was - was/2 // a page has many small rows, and few large ones
		}
		if after[table] < least || after[table] > was {
			t.Errorf("%s: %d rows, there were %d", table, after[table], was)
		}
	}
}

func tableRows(t *testing.T, s *Store) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, table := range []string{"tail", "chunk", "rollup", "series", "code", "latest"} {
		var rows int
		must(t, s.reader.QueryRow("SELECT COUNT(*) FROM "+table).Scan(&rows))
		n[table] = rows
	}
	return n
}

// TestKilledWhileReplacing: whatever a kill leaves of it, the next start ends it.
func TestKilledWhileReplacing(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	s := open(t, Options{Path: good})
	saveRuns(t, s, 1, 10)
	must(t, s.Close())
	path := filepath.Join(dir, "nodeprobe.db")
	copyFile(t, good, path+salvagedSuffix)
	if got := runs(t, open(t, Options{Path: path}), 1); got != 10 {
		t.Errorf("the old one was moved: got %d runs, want 10", got)
	}
	path = filepath.Join(dir, "other.db")
	copyFile(t, good, path)
	must(t, os.WriteFile(path+salvagedSuffix, []byte("older"), 0o600))
	if got := runs(t, open(t, Options{Path: path}), 1); got != 10 {
		t.Errorf("the old one was not moved: got %d runs, want 10", got)
	}
	if _, err := os.Stat(path + salvagedSuffix); err == nil {
		t.Error("the new one is left")
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	must(t, err)
	defer src.Close()
	dst, err := os.Create(to)
	must(t, err)
	_, err = io.Copy(dst, src)
	must(t, err)
	must(t, dst.Close())
}

// How much is stored is told also when no more can be.
func TestStatsWhilePaused(t *testing.T) {
	s := open(t, Options{first: time.Hour})
	s.noteFault(ErrPaused)
	if err := s.Check(t.Context()); !errors.Is(err, ErrPaused) {
		t.Errorf("got %v, want %v", err, ErrPaused)
	}
	if st, err := s.Storage(t.Context()); err != nil || st.Bytes == 0 || st.MaxBytes != DefaultMaxBytes {
		t.Errorf("got %+v, %v", st, err)
	}
}
