package store

import (
	"bytes"
	"database/sql"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestSeal(t *testing.T) {
	page := make([]byte, pageSize)
	for i := range page {
		page[i] = byte(rand.IntN(256))
	}
	putSeal(page, sealOf(page, 7))
	if !goodSeal(page, 7) || goodSeal(page, 8) {
		t.Error("a seal is of a page and its number")
	}
	for at := range page {
		page[at] ^= 1 << (at % 8)
		if goodSeal(page, 7) {
			t.Fatalf("a bit of byte %d is another, and the seal is good", at)
		}
		page[at] ^= 1 << (at % 8)
	}
}

// TestEveryPageIsSealed: a page without a seal was never written.
func TestEveryPageIsSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	saveRuns(t, s, 1, 2000)
	must(t, drain(s.writer.QueryContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")))
	sealsOf(t, path)
	must(t, s.Close())
	sealsOf(t, path)
}

// sealsOf checks the seals.
func sealsOf(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	if len(b) < 5*pageSize || len(b)%pageSize != 0 {
		t.Fatalf("the file has %d bytes", len(b))
	}
	for n := uint32(1); int(n) <= len(b)/pageSize; n++ {
		if page := b[(n-1)*pageSize : n*pageSize]; !goodSeal(page, n) && !empty(page) {
			t.Errorf("page %d of %s has no good seal", n, filepath.Base(path))
		}
	}
}

// TestPagesSwapped: each of the pages is sound, and at the wrong place.
func TestPagesSwapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	saveRuns(t, s, 1, 2000)
	must(t, s.Close())
	b, err := os.ReadFile(path)
	must(t, err)
	a, z := b[len(b)-2*pageSize:len(b)-pageSize], b[len(b)-pageSize:]
	must(t, os.WriteFile(path, append(bytes.Clone(b[:len(b)-2*pageSize]), append(bytes.Clone(z), a...)...), 0o600))
	if s = open(t, Options{Path: path}); s.Recovered() == "" {
		t.Error("nothing was noticed")
	}
}

// TestValueChanged: for SQLite it is a sound database.
func TestValueChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	must(t, s.SavePlugin(t.Context(), core.PluginRecord{Name: "x", Problem: "a sentence"}))
	must(t, s.Close())
	b, err := os.ReadFile(path)
	must(t, err)
	b[bytes.LastIndex(b, []byte("a sentence"))] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	plain := shell(t, path)
	var said, problem string
	must(t, plain.QueryRow("PRAGMA integrity_check").Scan(&said))
	must(t, plain.QueryRow("SELECT problem FROM plugin").Scan(&problem))
	must(t, plain.Close())
	if said != "ok" || problem != "` sentence" {
		t.Fatalf("integrity_check says %s, the value is %q: the test does not do what it should", said, problem)
	}
	s = open(t, Options{Path: path})
	if plugins, err := s.Plugins(t.Context()); s.Recovered() == "" || err != nil || len(plugins) > 0 {
		t.Errorf("recovered to %q, got %v, %v", s.Recovered(), plugins, err)
	}
}

// shell opens a database as another program does.
func shell(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	return db
}

// TestOpenedByAnother: after a kill, the first to open the database is a program
// that knows nothing of seals. It takes the log into the file.
func TestOpenedByAnother(t *testing.T) {
	dir := t.TempDir()
	made, path := filepath.Join(dir, "made.db"), filepath.Join(dir, "nodeprobe.db")
	s := open(t, Options{Path: made})
	saveRuns(t, s, 1, 30)
	must(t, drain(s.writer.QueryContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")))
	saveRuns(t, s, 31, 59)
	copyFiles(t, made, path)
	db := shell(t, path)
	var n int
	must(t, db.QueryRow("SELECT COUNT(*) FROM poll_results").Scan(&n))
	must(t, db.Close())
	if fileSize(path+"-wal") > 0 || n != 59 {
		t.Fatalf("there is still a log, or %d runs: the test does not do what it should", n)
	}
	s = open(t, Options{Path: path})
	if got := runs(t, s, 1); s.Recovered() != "" || got != 59 {
		t.Errorf("recovered to %q, got %d runs, want 59", s.Recovered(), got)
	}
	must(t, s.Close())
	sealsOf(t, path)

	// Where nobody else can have written, it is damage.
	b, err := os.ReadFile(path)
	must(t, err)
	putSeal(b[len(b)-pageSize:], 0)
	must(t, os.WriteFile(path, b, 0o600))
	if s = open(t, Options{Path: path}); s.Recovered() == "" {
		t.Error("nothing was noticed of a page without a seal")
	}
}

// TestMadeByAnother: a copy that SQLite makes has no seals.
func TestMadeByAnother(t *testing.T) {
	dir := t.TempDir()
	made, path := filepath.Join(dir, "made.db"), filepath.Join(dir, "nodeprobe.db")
	s := open(t, Options{Path: made})
	saveRuns(t, s, 1, 59)
	db := shell(t, made)
	_, err := db.Exec("VACUUM INTO ?", path)
	must(t, err)
	must(t, db.Close())
	s = open(t, Options{Path: path})
	if got := runs(t, s, 1); s.Recovered() != "" || got != 59 {
		t.Errorf("recovered to %q, got %d runs, want 59", s.Recovered(), got)
	}
	must(t, s.Close())
	sealsOf(t, path)
}

// TestEmptied: a file that was cut to nothing is no new one.
func TestEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	saveRuns(t, s, 1, 30)
	must(t, s.Close())
	must(t, os.Truncate(path, 0))
	s = open(t, Options{Path: path})
	var told mishaps
	s.OnMishap(told.add)
	told.want(t, "was empty")
	saveRuns(t, s, 1, 30)
}
