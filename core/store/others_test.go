package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/scripts/require"
)

// sqlite3Shell has the sqlite3 shell, another process that knows nothing of seals,
// run statements on a database.
func sqlite3Shell(t *testing.T, path string, statements ...string) string {
	t.Helper()
	cmd := exec.Command(sqlite3Path(t), append([]string{"-cmd", ".timeout 5000", path}, statements...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3 %q: %v: %s", statements, err, out)
	}
	return strings.TrimSpace(string(out))
}

func sqlite3Path(t *testing.T) string {
	t.Helper()
	name, err := exec.LookPath("sqlite3")
	if err != nil {
		require.Missing(t, "sqlite3", "the sqlite3 shell is not installed: %v", err)
	}
	return name
}

// openShell is one that has run statements and stays.
func openShell(t *testing.T, path string, statements ...string) (leave func()) {
	t.Helper()
	cmd := exec.Command(sqlite3Path(t), path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = fmt.Fprintln(in, strings.Join(append(statements, "SELECT 'ready';"), "\n"))
	must(t, err)
	var said []byte
	for b := make([]byte, 256); !bytes.Contains(said, []byte("ready")); {
		n, err := out.Read(b)
		if said = append(said, b[:n]...); err != nil {
			t.Fatalf("sqlite3 says %s: %v", said, err)
		}
	}
	return func() {
		must(t, in.Close())
		_, _ = io.Copy(io.Discard, out)
		must(t, cmd.Wait())
	}
}

// unheld closes the connections, so that what they have read is read again. As
// everywhere, it is the writer that does it: it would take a log that vanishes
// beside it for deleted.
func unheld(t *testing.T, s *Store) {
	t.Helper()
	eventually(t, func() bool {
		_ = s.write(t.Context(), func(_ context.Context, c *commit) error { // fails once what is damaged is found
			c.onSuccess(s.dropConns)
			return nil
		})
		return s.writer.Stats().OpenConnections+s.reader.Stats().OpenConnections == 0
	})
}

// otherWords is what people and programs do with a database.
var otherWords = []string{
	"SELECT COUNT(*) FROM poll_results",
	"PRAGMA wal_checkpoint",
	"DELETE FROM event WHERE id % 7 = 0",
	"PRAGMA wal_checkpoint(TRUNCATE)",
	"CREATE TABLE theirs AS SELECT * FROM event; PRAGMA wal_checkpoint(RESTART)",
	"DROP TABLE IF EXISTS theirs",
	".backup $BACKUP",
	"PRAGMA integrity_check",
}

// fileFromOutside reads a database in use: a process that closes the file loses
// SQLite's locks of it.
func fileFromOutside(t *testing.T, path string) []byte {
	t.Helper()
	b, err := exec.Command("cat", path).Output()
	must(t, err)
	return b
}

func saveSomeEvents(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := range n {
		must(t, s.SaveEvents(t.Context(), []core.Event{{Kind: "x", Subject: fmt.Sprint("a subject with words ", i), Began: epoch.Add(time.Duration(i) * time.Second)}}))
	}
}

// TestOthersWhileRunning: whatever they do, it is neither refused nor damage.
func TestOthersWhileRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	var told mishaps
	s.OnMishap(told.add)
	saveSomeEvents(t, s, 60)
	for i, words := range otherWords {
		saveRuns(t, s, 1+i*7, 7+i*7)
		sqlite3Shell(t, path, strings.ReplaceAll(words, "$BACKUP", path+".backup"))
		r, err := OpenReader(t.Context(), Options{Path: path})
		must(t, err)
		if err := r.Results(t.Context(), ExportQuery{}, func(ResultRow) error { return nil }); err != nil {
			t.Errorf("after %q: export: %v", words, err)
		}
		must(t, r.Close())
		if _, err := s.Events(t.Context(), core.EventQuery{}); err != nil {
			t.Errorf("after %q: events: %v", words, err)
		}
	}
	if got := runs(t, s, 1); got != 7*len(otherWords) {
		t.Errorf("got %d runs, want %d", got, 7*len(otherWords))
	}
	must(t, s.Check(t.Context()))
	must(t, s.Close())
	told.want(t)
	sealsOf(t, path)
	s = open(t, Options{Path: path + ".backup"})
	s.OnMishap(told.add)
	told.want(t)
	if got := runs(t, s, 1); s.Recovered() != "" || got != 7*7 {
		t.Errorf("the backup: recovered to %q, got %d runs, want %d", s.Recovered(), got, 7*7)
	}
}

// TestCheckpointsAreOurs: another program cannot take the log into the file.
func TestCheckpointsAreOurs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path, first: time.Hour})
	saveRuns(t, s, 1, 10)
	before := fileFromOutside(t, path)
	if said := sqlite3Shell(t, path, "PRAGMA wal_checkpoint(TRUNCATE)"); !strings.HasPrefix(said, "1|") {
		t.Errorf("another program's checkpoint says %q, want that it was busy", said)
	}
	if !bytes.Equal(before, fileFromOutside(t, path)) {
		t.Error("the file is another one")
	}
	unheld(t, s)
	saveRuns(t, s, 11, 20)
	if said := sqlite3Shell(t, path, "PRAGMA wal_checkpoint(TRUNCATE)"); !strings.HasPrefix(said, "1|") {
		t.Errorf("with a new connection: %q, want that it was busy", said)
	}
}

// TestOthersAtRest: what other programs have written to the database of a node
// that does not run is taken as it is, and what is damaged later is damage.
func TestOthersAtRest(t *testing.T) {
	for _, words := range append(otherWords, "VACUUM", "PRAGMA journal_mode=WAL; DELETE FROM event WHERE id = 1", "DELETE FROM event; VACUUM") {
		t.Run(words, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "nodeprobe.db")
			s := open(t, Options{Path: path})
			saveSomeEvents(t, s, 60)
			saveRuns(t, s, 1, 59)
			must(t, s.Close())
			sqlite3Shell(t, path, strings.ReplaceAll(words, "$BACKUP", path+".backup"))
			s = open(t, Options{Path: path})
			if got := runs(t, s, 1); s.Recovered() != "" || got != 59 {
				t.Errorf("recovered to %q, got %d runs, want 59", s.Recovered(), got)
			}
			must(t, s.Close())
			sealsOf(t, path)
			b, err := os.ReadFile(path)
			must(t, err)
			b[len(b)-pageSize/2] ^= 4
			must(t, os.WriteFile(path, b, 0o600))
			if s = open(t, Options{Path: path}); s.Recovered() == "" {
				t.Error("nothing was noticed of a bit that is another")
			}
		})
	}
}

// TestOthersDamaged: that others have written does not make damage sound that
// SQLite sees.
func TestOthersDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	saveRuns(t, s, 1, 1400)
	var root int64
	must(t, s.reader.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = 'report'").Scan(&root))
	must(t, s.Close())
	sqlite3Shell(t, path, "CREATE TABLE theirs (x)")
	garble(t, path, root-1)
	if s = open(t, Options{Path: path}); s.Recovered() == "" {
		t.Error("nothing was noticed")
	}
}

// TestOthersAfterKill: the next to open the database is another program, which
// writes, and goes or stays.
func TestOthersAfterKill(t *testing.T) {
	for _, stays := range []bool{false, true} {
		t.Run(fmt.Sprint("stays ", stays), func(t *testing.T) {
			dir := t.TempDir()
			made, path := filepath.Join(dir, "made.db"), filepath.Join(dir, "nodeprobe.db")
			s := open(t, Options{Path: made})
			saveSomeEvents(t, s, 60)
			saveRuns(t, s, 1, 30)
			must(t, drain(s.writer.QueryContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")))
			saveRuns(t, s, 31, 59)
			copyFiles(t, made, path)
			leave := openShell(t, path, "DELETE FROM event WHERE id % 7 = 0;", "PRAGMA wal_checkpoint;")
			if !stays {
				leave()
			}
			s = open(t, Options{Path: path})
			if _, err := s.Events(t.Context(), core.EventQuery{}); err != nil {
				t.Error(err)
			}
			if got := runs(t, s, 1); s.Recovered() != "" || got != 59 {
				t.Errorf("recovered to %q, got %d runs, want 59", s.Recovered(), got)
			}
			must(t, s.Close())
			if stays {
				leave()
			}
			if s = open(t, Options{Path: path}); s.Recovered() != "" {
				t.Errorf("recovered to %q", s.Recovered())
			}
		})
	}
}

// TestBackupPutInPlace: one that SQLite made of the database in use has pages
// without seals.
func TestBackupPutInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	var told mishaps
	s.OnMishap(told.add)
	saveSomeEvents(t, s, 60)
	saveRuns(t, s, 1, 30)
	sqlite3Shell(t, path, ".backup "+path+".backup")
	saveRuns(t, s, 31, 40)
	must(t, os.Rename(path+".backup", path))
	saveRuns(t, s, 41, 59)
	told.want(t, "replaced")
	if got := runs(t, s, 1); got != 49 {
		t.Errorf("got %d runs, want the 30 of the backup and 19", got)
	}
	must(t, s.Close())
	sealsOf(t, path)
}

// TestLogDeleted: what is in the log alone is not lost.
func TestLogDeleted(t *testing.T) {
	for _, part := range parts[1:] {
		t.Run(part, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "nodeprobe.db")
			s := open(t, Options{Path: path})
			var told mishaps
			s.OnMishap(told.add)
			saveRuns(t, s, 1, 30)
			must(t, os.Remove(path+part))
			_ = exec.Command(sqlite3Path(t), path, "SELECT COUNT(*) FROM event").Run() // makes another
			saveRuns(t, s, 31, 59)
			killed := filepath.Join(t.TempDir(), "nodeprobe.db")
			copyFiles(t, path, killed)
			told.want(t, "written back")
			must(t, s.Check(t.Context()))
			must(t, s.Close())
			for _, path := range []string{path, killed} {
				s = open(t, Options{Path: path})
				var told mishaps
				s.OnMishap(told.add)
				told.want(t)
				if got := runs(t, s, 1); got != 59 {
					t.Errorf("got %d runs after a start, want 59", got)
				}
			}
		})
	}
}

// TestConnectionsGone: the log that goes with the last connection is none that was
// deleted.
func TestConnectionsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	var told mishaps
	s.OnMishap(told.add)
	for i := range 3 {
		saveRuns(t, s, 1+10*i, 10+10*i)
		unheld(t, s)
	}
	saveRuns(t, s, 31, 40)
	told.want(t)
}

// TestLockDeleted: the lock is taken again, or another process has it; then that
// one has the database.
func TestLockDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	saveRuns(t, s, 1, 10)
	must(t, os.Remove(path+".lock"))
	saveRuns(t, s, 11, 20)
	if lock, err := TakeLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("the lock is free: %v, %v", lock, err)
	}

	must(t, removeFiles(path))
	must(t, os.Remove(path+".lock"))
	other := open(t, Options{Path: path})
	saveRuns(t, other, 1, 3)
	for range 2 {
		if err := s.SaveResults(t.Context(), []core.Result{result(1, 21, epoch, 1)}); !errors.Is(err, ErrLocked) {
			t.Errorf("got %v, want %v", err, ErrLocked)
		}
	}
	if err := s.Check(t.Context()); !errors.Is(err, ErrLocked) {
		t.Errorf("health says %v", err)
	}
	must(t, s.Close())
	saveRuns(t, other, 4, 6)
	if got := runs(t, other, 1); got != 6 || other.Recovered() != "" {
		t.Errorf("got %d runs, want 6", got)
	}
	if n := other.Counts().Mishaps; n != 0 {
		t.Errorf("the other one had %d mishaps: its log was deleted", n)
	}
}

// TestBusyAtClose: a stop does not wait for another program that writes.
func TestBusyAtClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	saveRuns(t, s, 1, 10)
	leave := openShell(t, path, "BEGIN IMMEDIATE;")
	defer leave()
	const saves = 12
	errs := make(chan error, saves)
	for i := range saves {
		go func() {
			errs <- s.SaveResults(context.Background(), []core.Result{result(1, uint64(20+i), epoch.Add(time.Hour), 1)})
		}()
	}
	closed := make(chan error, 1)
	go func() {
		for s.writer.Stats().InUse == 0 {
			time.Sleep(time.Millisecond)
		}
		closed <- s.Close()
	}()
	select {
	case err := <-closed:
		must(t, err)
	case <-time.After(20 * time.Second): // or it tries each of them for some seconds
		t.Error("the store is still being closed")
	}
	for range saves {
		if err := <-errs; err == nil {
			t.Error("a result was acknowledged")
		}
	}
}
