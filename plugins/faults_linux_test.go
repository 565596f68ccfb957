package plugins

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestKilledPluginServesAgain(t *testing.T) {
	r := newRig(t, nil)
	s := spec("a", "", map[string]string{"hold": "never", "one": "label"})
	r.apply(s, spec("b", "", map[string]string{"other": "label"}))
	held := r.submit("hold", 4*time.Second)
	r.probe("one")
	pid := r.status("a").PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	got := r.result(held)
	if got.Outcome != core.OutcomePluginError || got.Reason != core.ReasonPluginCrashed || got.Started.IsZero() {
		t.Errorf("got %v %q %q started %v, want plugin_error plugin_crashed with a start", got.Outcome, got.Reason, got.Message, got.Started)
	}
	if other := r.probe("other"); other.Outcome != core.OutcomeSuccess {
		t.Errorf("other plugin: got %v, want success", other.Outcome)
	}
	r.serves("one")
	st := r.status("a")
	if st.PID == pid || st.Restarts != 1 || st.Problem != "" {
		t.Errorf("got %+v, want another pid, one restart and no problem", st)
	}
	r.exactlyOnce()
}

func TestStoppedPluginIsReplaced(t *testing.T) {
	r := newRig(t, quickPulse)
	r.apply(spec("a", "", map[string]string{"one": "label"}), spec("b", "", map[string]string{"other": "label"}))
	pid := r.status("a").PID
	freeze(t, r, pid)
	id := r.submit("one", 4*time.Second)
	if got := r.result(id); got.Reason != core.ReasonPluginCrashed {
		t.Errorf("got %q, want %q", got.Reason, core.ReasonPluginCrashed)
	}
	why := regexp.MustCompile("did not answer 3 (heartbeats|health calls) and was killed") // whichever is first
	r.eventually("the log says why", func() bool { return why.MatchString(r.log.String()) })
	r.serves("one")
	if got := r.status("b"); r.probe("other").Outcome != core.OutcomeSuccess {
		t.Errorf("other plugin: got %+v, want untouched", got)
	}
	if alive(pid) {
		t.Errorf("pid %d is alive, want it killed", pid)
	}
}

// A process that was frozen over a deadline cannot tell whether the target would
// have answered.
func TestFreezeIsNotTheTargetsTimeout(t *testing.T) {
	r := newRig(t, func(o *Options) { o.JobGrace = time.Minute })
	r.apply(spec("a", "sdk", map[string]string{"wait": "wait"}))
	id := r.submit("wait", 400*time.Millisecond)
	r.eventually("the run has begun", func() bool { return strings.Contains(r.log.String(), "waits for its deadline") })
	pid := r.status("a").PID
	freeze(t, r, pid)
	time.Sleep(1500 * time.Millisecond)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := r.result(id); got.Outcome != core.OutcomePluginError {
		t.Errorf("got %v %q %q, want plugin_error", got.Outcome, got.Reason, got.Message)
	}
}

// go-plugin's Kill waits for a frozen plugin for ever; the host does not.
func TestFrozenPluginCanBeRemoved(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "", map[string]string{"one": "label"}))
	p := r.plugins["a"].current.Load()
	freeze(t, r, p.child.PID())
	r.apply()
	if !waitFor(p.child.done, patience) {
		t.Error("the frozen process is still there")
	}
	r.eventually("its supervisor ends", func() bool { return len(r.Status()) == 0 })
}

func TestSilentHeartbeatIsReplaced(t *testing.T) {
	r := newRig(t, quickPulse)
	s := spec("a", "no-pulse", map[string]string{"one": "label"})
	r.apply(s)
	r.eventually("a restart", func() bool { return r.status("a").Restarts > 0 })
}

func TestStoppedReporterIsReplaced(t *testing.T) {
	r := newRig(t, quickPulse)
	s := spec("a", "reporter", nil)
	s.Reporters = []ReporterSpec{{Name: "out", Kind: "sink"}}
	r.apply(s)
	freeze(t, r, r.status("a").PID)
	r.eventually("a restart", func() bool { return r.status("a").Restarts > 0 })
}

func TestCrashLoopIsDisabledUntilEnabled(t *testing.T) {
	starts := filepath.Join(t.TempDir(), "starts")
	state := &memory{}
	r := newRig(t, func(o *Options) { o.State = state })
	s := spec("a", "crash-soon", map[string]string{"one": "label"})
	s.Env["TESTPLUGIN_STARTS"] = starts
	s = thirdParty(t, s)
	r.apply(s, spec("b", "", map[string]string{"other": "label"}))
	st := r.state("a", core.PluginDisabled)
	// On a busy machine it crashes before the host has seen that it serves.
	want := "disabled after 5 crashes within 5m0s: ended with exit status 2: panic: boom soon"
	if got := strings.Replace(st.Problem, "ended at start", "ended", 1); got != want {
		t.Errorf("got problem %q, want %q", st.Problem, want)
	}
	if n := lines(t, starts); n != 5 {
		t.Errorf("got %d starts, want 5", n)
	}
	if got := r.probe("one"); got.Reason != core.ReasonPluginUnavailable || !strings.Contains(got.Message, "boom soon") {
		t.Errorf("got %q %q, want plugin_unavailable with the cause", got.Reason, got.Message)
	}
	if got := r.probe("other"); got.Outcome != core.OutcomeSuccess {
		t.Errorf("other plugin: got %v, want success", got.Outcome)
	}
	if rec := state.record("a"); !rec.Disabled || rec.Problem != st.Problem {
		t.Errorf("remembered %+v, want disabled with the problem", rec)
	}
	again := newRig(t, func(o *Options) { o.State = state })
	again.apply(s)
	if got := again.status("a"); got.State != core.PluginDisabled || got.Problem != st.Problem || lines(t, starts) != 5 {
		t.Errorf("after a restart of the host: got %+v, want still disabled and not started", got)
	}
	if err := again.Enable("a"); err != nil {
		t.Fatal(err)
	}
	again.eventually("a start", func() bool { return lines(t, starts) > 5 })
	if rec := state.record("a"); rec.Name != "a" {
		t.Errorf("got record %+v, want one of a", rec)
	}
	if err := again.Enable("z"); !errors.Is(err, ErrUnknownPlugin) {
		t.Errorf("got %v, want %v", err, ErrUnknownPlugin)
	}
}

// Without the built-in plugin the node is blind: it is started again for ever.
func TestBuiltinIsNeverDisabled(t *testing.T) {
	starts := filepath.Join(t.TempDir(), "starts")
	state := &memory{}
	if err := state.SavePlugin(t.Context(), core.PluginRecord{Name: "a", Disabled: true, Problem: "of an older version"}); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(o *Options) { o.State, o.CrashLimit = state, 2 })
	s := spec("a", "crash-soon", map[string]string{"one": "label"})
	s.Env["TESTPLUGIN_STARTS"] = starts
	r.apply(s)
	r.eventually("two crashes", func() bool { return lines(t, starts) == 2 && r.status("a").State == core.PluginBackoff })
	sup := r.Host.plugins["a"]
	r.eventually("a long wait", func() bool {
		sup.mu.Lock()
		defer sup.mu.Unlock()
		return sup.wait == r.CrashWindow/2
	})
	if st := r.status("a"); !strings.Contains(st.Problem, "boom soon") {
		t.Errorf("got problem %q, want the cause", st.Problem)
	}
	if err := r.Enable("a"); err != nil {
		t.Fatal(err)
	}
	r.eventually("a start by hand", func() bool { return lines(t, starts) > 2 })
}

func TestFloodOfStderrIsCounted(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "", map[string]string{"flood": "flood"}), spec("b", "", map[string]string{"other": "label"}))
	id := r.submit("flood", 4*time.Second)
	for range 20 {
		if got := r.probe("other"); got.Outcome != core.OutcomeSuccess {
			t.Fatalf("other plugin: got %v, want success", got.Outcome)
		}
	}
	if got := r.result(id); got.Outcome != core.OutcomeSuccess {
		t.Errorf("got %v, want success", got.Outcome)
	}
	r.eventually("19 MB counted as dropped", func() bool { return r.status("a").DroppedLogBytes >= 18_900_000 })
	if n := len(r.log.String()); n > 3_000_000 {
		t.Errorf("got %d bytes of log, want about 1 MB of lines", n)
	}
}

func TestPluginsThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("not a program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho hi from a script\nsleep 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	loose := filepath.Join(dir, "loose")
	copyFile(t, testPlugin, loose)
	if err := os.Chmod(loose, 0o777); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, testPlugin, filepath.Join(open, "plugin"))
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o755); err != nil {
		t.Fatal(err)
	}
	at := func(path string) Spec {
		return Spec{Name: "a", Path: path, SHA256: strings.Repeat("0", 64), Probes: []ProbeSpec{{Name: "one", Kind: "echo"}}}
	}
	hashed := func(path string) Spec { return thirdParty(t, at(path)) }
	for _, tt := range []struct {
		name string
		spec Spec
		want string // in the problem
	}{
		{"missing", at(filepath.Join(dir, "nothing")), "cannot be started: " + dir + "/nothing: no such file or directory"},
		{"wrong sha256", at(testPlugin), "cannot be started: sha256 of " + testPlugin + " is " + sum(t, testPlugin) + ", the settings say 0000"},
		{"directory", at(dir), "is not a regular file"},
		{"pipe", at(pipe), "is not a regular file"},
		{"writable file", at(loose), "loose is writable by others than its owner (mode 0777)"},
		{"writable directory", at(filepath.Join(open, "plugin")), "open is writable by others than its owner (mode 0777)"},
		{"text file", hashed(text), "cannot be started: exec format error"},
		{"script", hashed(script), `is not a NodeProbe plugin: it printed "hi from a script"`},
		{"bin true", hashed("/bin/true"), "ended at start with exit status 0"},
		{"prints", spec("a", "print", map[string]string{"one": ""}), `is not a NodeProbe plugin: it printed "hi there"`},
		{"exit", spec("a", "exit", map[string]string{"one": ""}), "ended at start with exit status 3: no licence for this host"},
		{"panic", spec("a", "panic", map[string]string{"one": ""}), "ended at start with exit status 2: panic: boom at start"},
		{"cookie", spec("a", "cookie", map[string]string{"one": ""}), "ended at start with exit status 1"},
		{"version", spec("a", "version", map[string]string{"one": ""}), "incompatible API version with plugin. Plugin version: 9, Client versions: [1]"},
		{"hang", spec("a", "hang", map[string]string{"one": ""}), "did not start within 500ms"},
		{"hang after handshake", listening(t, spec("a", "hang-after-handshake", map[string]string{"one": ""})), "did not start within 500ms"},
		{"dies in configure", spec("a", "", map[string]string{"one": "die-in-configure"}), "ended with exit status 9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(o *Options) {
				o.BackoffMin, o.BackoffMax = time.Minute, time.Minute
				if strings.HasPrefix(tt.name, "hang") {
					o.StartTimeout = 500 * time.Millisecond
				}
			})
			r.apply(tt.spec)
			st := r.status("a")
			if st.State != core.PluginBackoff || !strings.Contains(st.Problem, tt.want) || strings.Contains(st.Problem, "\n") {
				t.Errorf("got %s, problem %q; want backoff, %q", st.State, st.Problem, tt.want)
			}
			got := r.probe("one")
			if got.Outcome != core.OutcomePluginError || got.Reason != core.ReasonPluginUnavailable || got.Message == "" {
				t.Errorf("got %v %q %q, want plugin_error plugin_unavailable with a sentence", got.Outcome, got.Reason, got.Message)
			}
			left, err := filepath.Glob(filepath.Join(r.runDir, "plugin-dir*"))
			if len(left) > 0 || err != nil {
				t.Errorf("left over: %v, %v", left, err)
			}
		})
	}
}

// listening gives the plugin a socket that accepts and never speaks.
func listening(t *testing.T, s Spec) Spec {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		t.Cleanup(func() { syscall.Close(fd) })
		err = errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 8))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Env["TESTPLUGIN_SOCKET"] = path
	return s
}

func TestVerifiedFileIsTheOneExecuted(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "plugin")
	copyFile(t, testPlugin, path)
	cmd, binary, _, err := command(&Spec{Path: path, SHA256: sum(t, path)}, hclog.Info)
	if err != nil {
		t.Fatal(err)
	}
	evil := filepath.Join(dir, "evil")
	if err := os.WriteFile(evil, []byte("#!/bin/sh\necho evil\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(evil, path); err != nil {
		t.Fatal(err)
	}
	sp := newSpawner()
	defer sp.stop()
	cmd.Env = append(cmd.Env, "TESTPLUGIN=exit")
	var said strings.Builder
	c := newChild(sp, cmd, 0, &said, func(string, error) {})
	c.binary = binary
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	printed, _ := bufio.NewReader(c.Stdout()).ReadString('\n')
	<-c.done
	if status, _ := c.fate(); status != "exit status 3" || printed != "" || !strings.Contains(said.String(), "no licence") {
		t.Errorf("got %s, stdout %q, stderr %q; want the checked program to run", status, printed, said.String())
	}
	c.Stdout().Close()
}

func TestHostKilledLeavesNoOrphan(t *testing.T) {
	for _, tt := range []struct {
		name, mode string
		stop       bool
	}{
		{"running", "", false},
		{"stopped", "", true},
		{"deaf to the life-line", "deaf", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			list := []Spec{spec("a", tt.mode, map[string]string{"one": ""}), spec("b", tt.mode, map[string]string{"two": ""})}
			host := exec.Command(self)
			host.Env = append(os.Environ(), envHelper+"="+string(config(list)), "TMPDIR="+shortDir(t))
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			pids := readPIDs(t, bufio.NewScanner(out))
			if tt.stop {
				for _, pid := range pids {
					if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
						t.Fatal(err)
					}
				}
			}
			_ = host.Process.Kill()
			_ = host.Wait()
			end := time.Now().Add(2 * time.Second)
			for _, pid := range pids {
				for alive(pid) && time.Now().Before(end) {
					time.Sleep(2 * time.Millisecond)
				}
				if alive(pid) {
					t.Errorf("plugin %d outlives its host", pid)
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		})
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "np")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func readPIDs(t *testing.T, in *bufio.Scanner) (pids []int) {
	t.Helper()
	for in.Scan() {
		if in.Text() == "ready" {
			return pids
		}
		pid, err := strconv.Atoi(in.Text())
		if err != nil {
			t.Fatalf("helper host: %s", in.Text())
		}
		pids = append(pids, pid)
	}
	t.Fatal("helper host ended")
	return nil
}

// Go ends the thread of a goroutine that returns while locked to it. A child
// forked from that thread would get its Pdeathsig.
func TestPluginOutlivesTheThreadThatAskedForIt(t *testing.T) {
	r := newRig(t, nil)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		failed <- r.Apply(context.Background(), []Spec{spec("a", "", map[string]string{"one": "label"})})
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	var ends sync.WaitGroup
	for range 300 {
		ends.Go(func() {
			runtime.LockOSThread()
			time.Sleep(time.Millisecond)
		})
	}
	ends.Wait()
	for range 20 {
		r.probe("one")
	}
	if st := r.status("a"); st.Restarts != 0 || st.State != core.PluginRunning {
		t.Errorf("got %+v, want the first process running", st)
	}
}

func TestGrandchildHoldingStderrDelaysNothing(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "", map[string]string{"one": "label", "fork": "grandchild"}))
	id := r.submit("fork", 4*time.Second)
	if got := r.result(id); got.Reason != core.ReasonPluginCrashed {
		t.Errorf("got %q, want %q", got.Reason, core.ReasonPluginCrashed)
	}
	r.serves("one")
	problem := "ended with exit status 5: grandchild "
	_, after, found := strings.Cut(r.log.String(), problem)
	if !found {
		t.Fatalf("log has no %q: %s", problem, r.log)
	}
	var pid int
	if _, err := fmt.Sscan(after, &pid); err != nil || !alive(pid) {
		t.Errorf("grandchild %d is not alive (%v): the test shows nothing", pid, err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestAllocationIsBounded(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "", map[string]string{"one": "label", "eat": "alloc"}))
	id := r.submit("eat", 4*time.Second)
	if got := r.result(id); got.Reason != core.ReasonPluginCrashed {
		t.Errorf("got %v %q, want %q", got.Outcome, got.Reason, core.ReasonPluginCrashed)
	}
	r.serves("one")
	if !strings.Contains(r.log.String(), "out of memory") {
		t.Errorf("log does not tell of the memory: %s", r.log)
	}
}

// freeze stops a process and waits until it is.
func freeze(t *testing.T, r *rig, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.eventually("stopped", func() bool { return state(pid) == "T" })
}

func alive(pid int) bool { return !strings.Contains("ZX", state(pid)) }

// state is the letter in /proc/PID/stat; empty when there is no such process.
func state(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:1]
}

func lines(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(data), "\n")
}
