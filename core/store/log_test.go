package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLogDamaged: SQLite takes a frame that is not sound for the end of the log,
// and says nothing.
func TestLogDamaged(t *testing.T) {
	dir := t.TempDir()
	made := filepath.Join(dir, "made.db")
	s := open(t, Options{Path: made, first: time.Hour})
	saveRuns(t, s, 1, 30)
	must(t, drain(s.writer.QueryContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")))
	saveRuns(t, s, 31, 59)
	frames := (fileSize(made+"-wal") - logHead) / frameSize
	copyFiles(t, made, filepath.Join(dir, "log.db"))
	last := logHead + (frames-1)*frameSize
	for name, c := range map[string]struct {
		flip      []int64 // bytes of the log
		cut       int64   // its length then
		write     []byte  // behind it
		withIndex bool
		runs      int
		told      bool
	}{
		"nothing":               {runs: 59, withIndex: true},
		"no index":              {runs: 59},
		"the head":              {flip: []int64{16}, runs: 30, told: true},
		"the sum of the head":   {flip: []int64{25}, runs: 30, told: true},
		"the magic":             {flip: []int64{3}, runs: 30, told: true},
		"a page":                {flip: []int64{logHead + frameHead + 100}, runs: 30, told: true},
		"a salt":                {flip: []int64{logHead + 9}, runs: 30, told: true},
		"the last page":         {flip: []int64{last + frameHead + 100}, runs: 30, told: true},
		"the salt of the last":  {flip: []int64{last + 9}, runs: 30, told: true},
		"the last sum":          {flip: []int64{last + 17}, runs: 30, told: true, withIndex: true},
		"cut":                   {cut: last, runs: 30, told: true, withIndex: true},
		"all cut":               {cut: 0, runs: 30, told: true, withIndex: true},
		"killed while writing":  {write: make([]byte, frameHead), runs: 59, withIndex: true},
		"killed, and no index":  {write: make([]byte, frameHead), runs: 59},
		"killed after the head": {write: make([]byte, frameSize), runs: 59, withIndex: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "nodeprobe.db")
			copyFiles(t, filepath.Join(dir, "log.db"), path)
			b, err := os.ReadFile(path + "-wal")
			must(t, err)
			for _, at := range c.flip {
				b[at] ^= 1
			}
			if name == "cut" || name == "all cut" {
				b = b[:c.cut]
			}
			if len(c.write) > 0 {
				copy(c.write[8:], b[16:24]) // the salt of this log
			}
			must(t, os.WriteFile(path+"-wal", append(b, c.write...), 0o600))
			if !c.withIndex {
				must(t, os.Remove(path+"-shm"))
			}
			s := open(t, Options{Path: path, first: time.Hour})
			var told mishaps
			s.OnMishap(told.add)
			if got := runs(t, s, 1); got != c.runs || (len(told.all) > 0) != c.told {
				t.Errorf("got %d runs, want %d; told %+v", got, c.runs, told.all)
			}
		})
	}
}

// TestLogOlderThanDatabase: what is damaged in the log is in the database already,
// and what is sound in it must not come on top of that.
func TestLogOlderThanDatabase(t *testing.T) {
	dir := t.TempDir()
	made, path := filepath.Join(dir, "made.db"), filepath.Join(dir, "nodeprobe.db")
	s := open(t, Options{Path: made, first: time.Hour})
	must(t, drain(s.writer.QueryContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")))
	saveRuns(t, s, 1, 30)
	saveRuns(t, s, 31, 59)
	_, err := checkpoint(t.Context(), s.writer)
	must(t, err)
	copyFiles(t, made, path)
	b, err := os.ReadFile(path + "-wal")
	must(t, err)
	b[len(b)-100] ^= 1
	must(t, os.WriteFile(path+"-wal", b, 0o600))
	s = open(t, Options{Path: path, first: time.Hour})
	var told mishaps
	s.OnMishap(told.add)
	if got := runs(t, s, 1); got != 59 {
		t.Errorf("got %d runs, want 59", got)
	}
	told.want(t)
}

// TestLogChangedInUse: what SQLite reads from the log is checked, too.
func TestLogChangedInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path, first: time.Hour})
	var told mishaps
	s.OnMishap(told.add)
	saveRuns(t, s, 1, 30)
	another := shell(t, path) // as long as somebody has it open, the log is not read from its beginning
	defer another.Close()
	must(t, another.Ping())
	must(t, drain(another.Query("SELECT * FROM code")))
	f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	must(t, err)
	for at := int64(logHead + frameHead); at < fileSize(path+"-wal"); at += frameSize {
		_, err = f.WriteAt([]byte{0x55}, at+2000)
		must(t, err)
	}
	must(t, f.Close())
	unheld(t, s) // or it would be in their caches
	eventually(t, func() bool {
		saveRuns(t, s, 31, 59)
		told.mu.Lock()
		defer told.mu.Unlock()
		return len(told.all) > 0
	})
	must(t, s.Check(t.Context()))
}
