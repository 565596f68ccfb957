package plugins

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// warned tells that a line of the log at level warn has words in it.
func (r *rig) warned(words string) bool {
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, `"@level":"warn"`) && strings.Contains(line, words) {
			return true
		}
	}
	return false
}

// A plugin that is killed, and whose file is another one by then, has two
// problems: the log must not keep the second to itself.
func TestEachCauseIsLoggedOnce(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "plugin")
	copyFile(t, testPlugin, path)
	r := newRig(t, nil)
	s := spec("a", "", map[string]string{"one": "label"})
	s.Path = path
	r.apply(s)
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("another program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(r.status("a").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	failures := func() int { return strings.Count(r.log.String(), `plugin does not serve`) }
	r.eventually("the new file was tried", func() bool { return failures() >= 4 })
	if !r.warned("signal: killed") || !r.warned("exec format error") {
		t.Errorf("want a warning for the kill and one for the file:\n%s", r.log)
	}
	if n := strings.Count(r.log.String(), `"@level":"warn","@message":"plugin does not serve"`); n != 2 {
		t.Errorf("got %d warnings, want 2: repeats are debug:\n%s", n, r.log)
	}
	if got := r.status("a").Restarts; got != 0 {
		t.Errorf("got %d restarts, want 0: no process has served again", got)
	}
}

// A wish for a start that came as the pause ended anyway is no wish for the
// one after the next failure, least of all of a plugin disabled by then.
func TestOldWishDoesNotEndTheNextPause(t *testing.T) {
	h := New(Options{RunDir: t.TempDir(), Tunables: Tunables{BackoffMin: time.Minute, BackoffMax: time.Minute}})
	s := newSupervisor(h, &Spec{Name: "a"}, nil)
	defer s.retire()
	s.failed("ended", true)
	s.enable() // and, before it is heard, the timer fires
	for range h.CrashLimit {
		s.failed("ended again", true)
	}
	if st := s.status(); st.State != core.PluginDisabled || len(s.wake) != 0 {
		t.Errorf("got %s with %d wishes for a start, want disabled with none", st.State, len(s.wake))
	}
}
