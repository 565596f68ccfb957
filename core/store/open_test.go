package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space ?#%41", "nodeprobe.db")
	now := time.Now()
	kept := time.Since(epoch) + time.Hour // whatever the date is, nothing is too old
	s := open(t, Options{Path: path, Records: records, Raw: kept})
	must(t, s.AddReporter(t.Context(), "a", results))
	must(t, s.SaveNodes(t.Context(), []core.Node{{ID: node(1), Endpoints: []core.Endpoint{{Host: "a", Port: 1}}}}))
	r := withView(1, epoch)
	r.Metrics = []core.Metric{{Name: "loss_ratio", Value: 0.5}}
	v := withView(2, now, pair(2, 3, now)) // views older than a day are tidied away
	must(t, s.SaveResults(t.Context(), []core.Result{r, failure(1, 2, epoch.Add(time.Second), core.OutcomeFailure, "timeout", "x"), v}))
	must(t, s.SaveEvents(t.Context(), []core.Event{{Kind: core.EventNodeState, Subject: "a", Began: epoch}}))
	must(t, s.SaveReport(t.Context(), core.Report{Node: node(1), Verified: true, Received: now}))
	must(t, s.Close())
	must(t, s.Close()) // once more does no harm
	for _, part := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + part); err == nil {
			t.Errorf("%s is left after close", part)
		}
	}

	s = open(t, Options{Path: path, Records: records, Raw: kept})
	wantBacklog(t, s, map[string]int{"a": 3})
	if got := runs(t, s, 1); got != 2 {
		t.Errorf("got %d runs, want 2", got)
	}
	if got := matrix(t, s); len(got) != 1 {
		t.Errorf("got %d pairs of peers, want 1", len(got))
	}
	reports, err := s.Reports(t.Context())
	must(t, err)
	events, err := s.Events(t.Context(), core.EventQuery{Open: true})
	must(t, err)
	st, err := s.Stats(t.Context())
	must(t, err)
	if len(reports) != 1 || len(events) != 1 || st.Rows != 4 || st.Bytes == 0 {
		t.Errorf("got %d reports, %d open events, %d rows; want 1, 1, 4", len(reports), len(events), st.Rows)
	}
	// The series, codes and nodes are known: nothing is made twice.
	r.Started, r.Learned.Identity.ID, r.Job.Target.Node = epoch.Add(time.Minute), node(1), core.NodeID{}
	must(t, s.SaveResults(t.Context(), []core.Result{r, failure(1, 3, epoch.Add(2*time.Second), core.OutcomeFailure, "timeout", "x")}))
	if got := runs(t, s, 1); got != 4 {
		t.Errorf("got %d runs, want 4", got)
	}
}

func TestPragmas(t *testing.T) {
	s := open(t, Options{})
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "page_size": "4096", "auto_vacuum": "2", "wal_autocheckpoint": "64", "busy_timeout": "200",
	} {
		var got string
		must(t, s.writer.QueryRow("PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s: got %s, want %s", pragma, got, want)
		}
	}
	if _, err := s.reader.Exec("DELETE FROM tail"); err == nil {
		t.Error("a reader can write")
	}
}

func TestFilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "nodeprobe.db")
	s := open(t, Options{Path: path})
	must(t, s.SavePlugin(t.Context(), core.PluginRecord{Name: "x"}))
	for _, name := range []string{path, path + "-wal", path + ".lock"} {
		info, err := os.Stat(name)
		must(t, err)
		if got := info.Mode().Perm(); got&0o077 != 0 && os.PathSeparator == '/' {
			t.Errorf("%s: got mode %o, want none for others", filepath.Base(name), got)
		}
	}
}

func TestCorrupt(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"header":    func(b []byte) []byte { copy(b, "this is no database"); return b },
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"a page":    func(b []byte) []byte { copy(b[2*4096:3*4096], bytes.Repeat([]byte{0xa5}, 4096)); return b },
		"text":      func([]byte) []byte { return []byte("hello\n") },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "nodeprobe.db")
			s := open(t, Options{Path: path})
			saveRuns(t, s, 1, 2000)
			must(t, s.Close())
			whole, err := os.ReadFile(path)
			must(t, err)
			damaged := damage(bytes.Clone(whole))
			must(t, os.WriteFile(path, damaged, 0o600))
			must(t, os.WriteFile(path+"-wal", []byte("not a log"), 0o600))

			var log bytes.Buffer
			s = open(t, Options{Path: path, Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
			if !strings.HasPrefix(s.Recovered(), path+".corrupt-") || !strings.Contains(log.String(), s.Recovered()) {
				t.Errorf("recovered to %q, log: %s", s.Recovered(), log.String())
			}
			got, err := os.ReadFile(s.Recovered())
			for _, b := range [][]byte{got, damaged} { // the header says that it is in use
				if len(b) > pageSize {
					clear(b[readVersionAt-1 : headerSize])
					putSeal(b[:pageSize], 0)
				}
			}
			if err != nil || !bytes.Equal(got, damaged) {
				t.Errorf("what was moved aside is not what was there: %v", err)
			}
			must(t, s.SaveResults(t.Context(), []core.Result{result(2, 1, epoch, 1)}))
			if got := runs(t, s, 2); got != 1 {
				t.Errorf("got %d runs in the new one, want 1", got)
			}
		})
	}
}

func TestCorruptFilesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	for i := range keptCorrupt + 2 {
		must(t, os.WriteFile(path, []byte("hello"), 0o600))
		must(t, os.WriteFile(path+"-wal", []byte("hello"), 0o600))
		_, err := moveAside(path, epoch.Add(time.Duration(i)*time.Second))
		must(t, err)
	}
	got, err := filepath.Glob(path + ".corrupt-*")
	must(t, err)
	if len(got) != 2*keptCorrupt || !strings.Contains(got[0], "T120002") {
		t.Errorf("got %q, want the newest %d", got, keptCorrupt)
	}
}

func TestNotWritable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	locked := filepath.Join(dir, "locked")
	must(t, os.MkdirAll(filepath.Join(locked, "nodeprobe.db.lock"), 0o700))
	for path, want := range map[string]string{
		filepath.Join(file, "nodeprobe.db"):   "data directory " + file + " cannot be made: ",
		filepath.Join(locked, "nodeprobe.db"): "data directory " + locked + " is not writable: ",
		dir:                                   "open store " + dir + ": database is not writable: ",
	} {
		_, err := Open(t.Context(), Options{Path: path})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s...", err, want)
		}
	}
}

// TestOpenWaitsForAnother: a program has it all to itself for a moment, as one
// does that plays the log of a kill into the file.
func TestOpenWaitsForAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	must(t, open(t, Options{Path: path}).Close())
	another := shell(t, path)
	another.SetMaxOpenConns(1)
	_, err := another.Exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; COMMIT")
	must(t, err)
	time.AfterFunc(300*time.Millisecond, func() { another.Close() })
	writer, reader, err := openPools(t.Context(), path)
	must(t, err)
	must(t, errors.Join(reader.Close(), writer.Close()))
}

func TestMigrationFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	writer, reader, err := openPools(t.Context(), path)
	must(t, err)
	defer writer.Close()
	defer reader.Close()
	files := fstest.MapFS{
		"m/0001_a.sql": {Data: []byte("CREATE TABLE one (x INTEGER); INSERT INTO one VALUES (1);")},
		"m/0002_b.sql": {Data: []byte("CREATE TABLE two (x INTEGER); INSERT INTO one VALUES (2); INSERT INTO nowhere VALUES (1);")},
	}
	if err := migrateUp(t.Context(), writer, files, "m"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Fatalf("got %v, want an error about nowhere", err)
	}
	state := func() (tables, rows, applied int) {
		must(t, writer.QueryRow("SELECT COUNT(*) FROM sqlite_master WHERE name IN ('one', 'two')").Scan(&tables))
		must(t, writer.QueryRow("SELECT COUNT(*) FROM one").Scan(&rows))
		must(t, writer.QueryRow("SELECT COUNT(*) FROM schema_migrations").Scan(&applied))
		return tables, rows, applied
	}
	if tables, rows, applied := state(); tables != 1 || rows != 1 || applied != 1 {
		t.Errorf("got %d tables, %d rows, %d applied; want 1 of each", tables, rows, applied)
	}
	files["m/0002_b.sql"].Data = []byte("CREATE TABLE two (x INTEGER);")
	for range 2 {
		must(t, migrateUp(t.Context(), writer, files, "m"))
	}
	if tables, rows, applied := state(); tables != 2 || rows != 1 || applied != 2 {
		t.Errorf("got %d tables, %d rows, %d applied; want 2, 1, 2", tables, rows, applied)
	}
	delete(files, "m/0002_b.sql")
	if err := migrateUp(t.Context(), writer, files, "m"); !errors.Is(err, errNewerSchema) {
		t.Errorf("a later schema: got %v, want %v", err, errNewerSchema)
	}
}
