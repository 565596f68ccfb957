package plugins

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestRunDirIsPrivateAndSwept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.MkdirAll(filepath.Join(dir, "plugin-dir123"), 0o777); err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(dir, "other")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := prepareRunDir(dir)
	if err != nil || got != dir {
		t.Fatalf("got %q, %v; want %q", got, err, dir)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v, %v; want 0700", info.Mode(), err)
	}
	left, _ := filepath.Glob(dir + "/*")
	if len(left) != 1 || left[0] != keep {
		t.Errorf("got %v left, want only %s", left, keep)
	}
}

func TestLongRunDirIsReplaced(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	first, err := prepareRunDir(long)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(first)
	second, err := prepareRunDir(long)
	if err != nil || first != second || tooLong(first) {
		t.Errorf("got %q and %q, %v; want one short directory", first, second, err)
	}
	other, err := prepareRunDir(long + "x")
	if err != nil || other == first {
		t.Errorf("got %q, %v; want another than %q", other, err, first)
	}
	os.RemoveAll(other)
}

func TestBadRunDirIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, link} {
		err := New(Options{RunDir: dir}).Apply(context.Background(), nil)
		if err == nil || !strings.Contains(err.Error(), "socket directory") {
			t.Errorf("%s: got %v, want an error that names the socket directory", dir, err)
		}
	}
	t.Setenv("TMPDIR", "/tmp/"+strings.Repeat("t", 90))
	if _, err := prepareRunDir(strings.Repeat("/long", 50)); err == nil || !strings.Contains(err.Error(), "too long for a socket") {
		t.Errorf("got %v, want too long for a socket", err)
	}
}

func TestFloodOfStdoutBlocksNothing(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "", map[string]string{"print": "stdout"}))
	for range 3 {
		if got := r.probe("print"); got.Outcome != core.OutcomeSuccess {
			t.Errorf("got %v %q, want success", got.Outcome, got.Message)
		}
	}
}
