package store

import (
	"errors"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// Whoever reads the file for long keeps the log from being used again. At the
// limit history waits for that to end, and then goes on by itself.
func TestPinnedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path, MaxBytes: minMaxBytes})
	at, saved := epoch, 0
	save := func() error {
		rs := make([]core.Result, 20)
		for i := range rs {
			at = at.Add(50 * time.Millisecond)
			rs[i] = result(i%20+1, 0, at, time.Millisecond)
		}
		err := s.SaveResults(t.Context(), rs)
		if err == nil {
			saved += len(rs)
		}
		if n := fileSize(path) + fileSize(path+"-wal"); n > minMaxBytes {
			t.Fatalf("after %d results: %d bytes, want at most %d", saved, n, minMaxBytes)
		}
		return err
	}
	must(t, save())
	other, err := openPool(t.Context(), path, 1, url.Values{"mode": {"ro"}})
	must(t, err)
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = tx.NewSelect().Model((*tailRow)(nil)).Count(t.Context())
	must(t, err)
	for err == nil {
		err = save()
	}
	if !errors.Is(err, ErrPinned) || !errors.Is(s.Check(t.Context()), ErrPinned) {
		t.Fatalf("got %v, and %v of Check; want %v", err, s.Check(t.Context()), ErrPinned)
	}
	must(t, tx.Rollback())
	for range 50 {
		must(t, save())
	}
	must(t, s.Check(t.Context()))
	got := 0
	for n := 1; n <= 20; n++ {
		got += runs(t, s, n)
	}
	if got != saved {
		t.Errorf("got %d runs, want the %d saved", got, saved)
	}
}
