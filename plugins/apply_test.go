package plugins

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func labelled(name, probe, label string) Spec {
	return Spec{
		Name: name, Builtin: true, Path: testPlugin,
		Probes: []ProbeSpec{{Name: probe, Kind: "echo", Config: config(map[string]any{"do": "label", "label": label})}},
	}
}

func TestApplyRefusesBadSettings(t *testing.T) {
	a := labelled("a", "one", "x")
	with := func(change func(*Spec)) Spec { s := *a.clone(); change(&s); return s }
	for _, tt := range []struct {
		name  string
		specs []Spec
		want  string
	}{
		{"no sha256", []Spec{with(func(s *Spec) { s.Builtin = false })}, `plugins.a.sha256: is ""; want the SHA-256 of the executable, 64 hexadecimal digits`},
		{"bad sha256", []Spec{with(func(s *Spec) { s.Builtin = false; s.SHA256 = "zz" })}, `plugins.a.sha256: is "zz"; want the SHA-256 of the executable, 64 hexadecimal digits`},
		{"no path", []Spec{with(func(s *Spec) { s.Builtin = false; s.Path = ""; s.SHA256 = strings.Repeat("0", 64) })}, "plugins.a.command: is empty; want the path of the executable"},
		{"memory", []Spec{with(func(s *Spec) { s.MemoryLimit = 1 << 20 })}, "plugins.a.memory_limit: is 1048576 bytes; want at least 134217728"},
		{"two plugins of one name", []Spec{a, labelled("a", "two", "x")}, "plugins.a: is there twice; names of plugins are unique"},
		{"one probe of two plugins", []Spec{a, labelled("b", "one", "x")}, `probes.one: is configured twice, for plugins "a" and "b"; names of probes are unique`},
		{"probe and reporter", []Spec{with(func(s *Spec) { s.Reporters = []ReporterSpec{{Name: "one", Kind: "sink"}} })}, `reporters.one: plugin "a" already has probes.one; names are unique within a plugin`},
		{"name of a probe", []Spec{with(func(s *Spec) { s.Probes[0].Name = "One" })}, "probes.One: want a letter, then letters, digits, hyphens and underscores, all lower case, 63 at most"},
		{"unknown field", []Spec{with(func(s *Spec) {
			s.Env, s.Probes[0].Config = map[string]string{"TESTPLUGIN": "sdk"}, []byte(`{"lable":"x"}`)
		})}, `probes.one.config.lable: unknown key; did you mean "label"?`},
		{"no JSON", []Spec{with(func(s *Spec) { s.Probes[0].Config = []byte("{") })}, "probes.one.config: is not JSON"},
		{"kind", []Spec{with(func(s *Spec) { s.Probes[0].Kind = "ehco" })}, `probes.one.kind: "ehco" is not offered by plugin "a"; valid: ["echo"]`},
		{"no such section", []Spec{with(func(s *Spec) {
			s.Env = map[string]string{"TESTPLUGIN": "reporter"}
		})}, `probes.one.kind: "echo" is not offered by plugin "a"; it offers no probes`},
		{"refused by two", []Spec{spec("a", "", map[string]string{"one": "refuse"}), spec("b", "", map[string]string{"two": "refuse", "six": ""})}, "probes.one.config.servers[0].port: is 0; want 1 to 65535\nprobes.two.config.servers[0].port: is 0; want 1 to 65535"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.apply(labelled("good", "kept", "old"))
			pid := r.status("good").PID
			err := r.Apply(context.Background(), tt.specs)
			var list ConfigErrors
			if !errors.As(err, &list) || err.Error() != tt.want {
				t.Errorf("got error %v, want %s", err, tt.want)
			}
			if st := r.Status(); len(st) != 1 || st[0].PID != pid {
				t.Errorf("got status %+v, want the running set unchanged", st)
			}
			if got := r.probe("kept").Attributes["label"]; got != "old" {
				t.Errorf("got label %q, want old", got)
			}
		})
	}
}

func TestRefusedReloadKeepsWhatRuns(t *testing.T) {
	r := newRig(t, nil)
	a, b := labelled("a", "one", "old"), labelled("b", "two", "old")
	r.apply(a, b)
	pids := []int{r.status("a").PID, r.status("b").PID}
	newA := labelled("a", "one", "new")
	newA.Probes = append(newA.Probes, ProbeSpec{Name: "added", Kind: "echo"})
	badB := labelled("b", "two", "new")
	badB.Probes[0].Config = config(map[string]any{"do": "refuse"})
	if err := r.Apply(context.Background(), []Spec{newA, badB}); err == nil {
		t.Fatal("got no error, want the refusal of b")
	}
	for _, probe := range []string{"one", "two"} {
		if got := r.probe(probe).Attributes["label"]; got != "old" {
			t.Errorf("%s: got label %q, want old", probe, got)
		}
	}
	if err := r.Submit(core.Job{Probe: "added"}); !errors.Is(err, ErrUnknownProbe) {
		t.Errorf("got %v, want %v", err, ErrUnknownProbe)
	}
	if got := []int{r.status("a").PID, r.status("b").PID}; got[0] != pids[0] || got[1] != pids[1] {
		t.Errorf("got pids %v, want %v", got, pids)
	}
}

func TestReloadInPlace(t *testing.T) {
	r := newRig(t, nil)
	a := labelled("a", "one", "old")
	a.Probes = append(a.Probes, ProbeSpec{Name: "gone", Kind: "echo"})
	r.apply(a)
	pid := r.status("a").PID
	next := labelled("a", "one", "new")
	next.Probes = append(next.Probes, ProbeSpec{Name: "added", Kind: "echo", Interval: time.Second})
	r.apply(next)
	if got := r.probe("one").Attributes["label"]; got != "new" {
		t.Errorf("got label %q, want new", got)
	}
	if got := r.probe("added").Outcome; got != core.OutcomeSuccess {
		t.Errorf("added: got %v, want success", got)
	}
	if err := r.Submit(core.Job{Probe: "gone"}); !errors.Is(err, ErrUnknownProbe) {
		t.Errorf("gone: got %v, want %v", err, ErrUnknownProbe)
	}
	if got := r.status("a").PID; got != pid {
		t.Errorf("got pid %d, want %d: only settings changed", got, pid)
	}
}

func TestRemovedPluginEnds(t *testing.T) {
	r := newRig(t, nil)
	r.apply(labelled("a", "one", "x"), labelled("b", "two", "x"))
	p := r.plugins["a"].current.Load()
	r.apply(labelled("b", "two", "x"))
	r.eventually("a ends", func() bool { return waitFor(p.child.done, 0) })
	if st := r.Status(); len(st) != 1 || st[0].Name != "b" {
		t.Errorf("got %+v, want b alone", st)
	}
}

// Reloads of both sorts, new settings and a new process, while jobs are in
// flight: each gets its one result, and none is a plugin error.
func TestReloadUnderLoadLosesNothing(t *testing.T) {
	r := newRig(t, nil)
	build := func(i int) Spec {
		s := labelled("a", "one", fmt.Sprint(i))
		s.Probes[0].Config = config(map[string]any{"wait_ms": 5, "label": fmt.Sprint(i)})
		s.Env = map[string]string{"GENERATION": fmt.Sprint(i / 2)}
		return s
	}
	r.apply(build(0))
	var stop atomic.Bool
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for !stop.Load() {
				r.submit("one", 5*time.Second)
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	for i := 1; i <= 10; i++ {
		r.apply(build(i))
	}
	stop.Store(true)
	load.Wait()
	r.exactlyOnce()
	r.mu.Lock()
	defer r.mu.Unlock()
	labels := make(map[string]int)
	for _, rs := range r.results {
		if rs[0].Outcome != core.OutcomeSuccess {
			t.Errorf("got %v %q %q, want success", rs[0].Outcome, rs[0].Reason, rs[0].Message)
		}
		labels[rs[0].Attributes["label"]]++
	}
	if len(labels) < 3 {
		t.Errorf("got labels %v: the reloads did not happen under load", labels)
	}
}

func TestBrokenNewVersionReplacesTheOld(t *testing.T) {
	r := newRig(t, func(o *Options) { o.BackoffMin = time.Minute })
	r.apply(labelled("a", "one", "x"))
	broken := labelled("a", "one", "x")
	broken.Env = map[string]string{"TESTPLUGIN": "exit"}
	r.apply(broken)
	if st := r.status("a"); st.State != core.PluginBackoff || st.Problem == "" {
		t.Errorf("got %+v, want backoff with a problem", st)
	}
	r.apply(labelled("a", "one", "y"))
	if got := r.probe("one").Attributes["label"]; got != "y" {
		t.Errorf("got label %q, want y: a change of settings is an operator's act", got)
	}
}

func TestHungAndLateJobsAreAnswered(t *testing.T) {
	r := newRig(t, func(o *Options) { o.QueueLimit = 3 })
	s := spec("a", "few", map[string]string{"hold": "never"})
	s.Probes = append(s.Probes, ProbeSpec{Name: "slow", Kind: "echo", Config: config(map[string]any{"wait_ms": 2000})})
	r.apply(s)
	held := r.submit("hold", 500*time.Millisecond)
	slow := r.submit("slow", 500*time.Millisecond) // answers after the grace: too late
	r.eventually("both in flight", func() bool { return r.status("a").InFlight == 2 })
	queued := r.submit("slow", 200*time.Millisecond)
	r.submit("slow", time.Second)
	r.submit("slow", time.Second)
	full := r.submit("slow", time.Second)
	for _, tt := range []struct {
		id   uint64
		want core.Reason
	}{{held, core.ReasonPluginHung}, {slow, core.ReasonPluginHung}, {queued, core.ReasonPluginBusy}, {full, core.ReasonPluginBusy}} {
		if got := r.result(tt.id); got.Reason != tt.want || got.Outcome != core.OutcomePluginError {
			t.Errorf("job %d: got %v %q %q, want plugin_error %q", tt.id, got.Outcome, got.Reason, got.Message, tt.want)
		}
	}
	r.exactlyOnce()
}

func TestPluginThatHoldsEveryRunIsReplaced(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "few", map[string]string{"hold": "never", "one": "label"}))
	r.submit("hold", 10*time.Millisecond)
	r.submit("hold", 10*time.Millisecond)
	r.eventually("a restart", func() bool { return r.status("a").Restarts > 0 })
	r.serves("one")
	r.exactlyOnce()
}

func TestHugeMessageEndsThePlugin(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "", map[string]string{"huge": "huge", "one": "label"}))
	if got := r.probe("huge"); got.Reason != core.ReasonPluginCrashed {
		t.Errorf("got %q, want %q", got.Reason, core.ReasonPluginCrashed)
	}
	r.serves("one")
	if !strings.Contains(r.log.String(), "sent a message of more than 4 MiB") {
		t.Errorf("log does not tell of the message: %s", r.log)
	}
}

func TestEndOfTheHost(t *testing.T) {
	h := New(Options{RunDir: t.TempDir()})
	if err := h.Apply(context.Background(), []Spec{spec("a", "", map[string]string{"hold": "never"})}); err != nil {
		t.Fatal(err)
	}
	if err := h.Submit(core.Job{ID: 1, Probe: "hold", Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	p := h.plugins["a"].current.Load()
	for n, _ := p.stream.load(); n == 0; n, _ = p.stream.load() {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	cancel()
	var got []core.Result
	for batch := range h.Results() {
		got = append(got, batch...)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
	if len(got) != 1 || got[0].Outcome != core.OutcomePluginError || got[0].Reason != core.ReasonPluginUnavailable {
		t.Errorf("got %+v, want one plugin error that tells of no crash", got)
	}
	if !waitFor(p.child.done, 0) {
		t.Error("the process is still there")
	}
	if err := h.Submit(core.Job{Probe: "hold"}); !errors.Is(err, ErrStopped) {
		t.Errorf("Submit: got %v, want %v", err, ErrStopped)
	}
	if err := h.Apply(context.Background(), nil); !errors.Is(err, ErrStopped) {
		t.Errorf("Apply: got %v, want %v", err, ErrStopped)
	}
}

func TestLateAnswerGivesItsSlotBack(t *testing.T) {
	r := newRig(t, nil)
	s := spec("a", "few", nil)
	s.Probes = []ProbeSpec{{Name: "slow", Kind: "echo", Config: config(map[string]any{"wait_ms": 600})}}
	r.apply(s)
	id := r.submit("slow", 50*time.Millisecond)
	if got := r.result(id); got.Reason != core.ReasonPluginHung {
		t.Errorf("got %q, want %q", got.Reason, core.ReasonPluginHung)
	}
	st := r.plugins["a"].current.Load().stream
	credit := func() int {
		st.mu.Lock()
		defer st.mu.Unlock()
		return st.creditLocked()
	}
	if got := credit(); got != 1 {
		t.Errorf("got credit %d with a run given up, want 1", got)
	}
	r.eventually("the late answer", func() bool { return credit() == 2 })
	r.exactlyOnce()
}

// A job that found its way before a reload and arrives after it goes to the
// successor.
func TestReplacedPluginTakesNoJobs(t *testing.T) {
	r := newRig(t, nil)
	r.apply(labelled("a", "one", "old"))
	old := r.plugins["a"]
	was := old.current.Load()
	next := labelled("a", "one", "new")
	next.Env = map[string]string{"GENERATION": "2"}
	r.apply(next)
	if !waitFor(was.done, patience) {
		t.Fatal("the replaced process goes on")
	}
	j := core.Job{ID: 1, Probe: "one", Timeout: time.Second}
	if old.submit(j) {
		t.Error("the replaced plugin took a job while it ended")
	}
	r.eventually("the end of the old one", func() bool { return old.current.Load() == nil })
	if old.submit(j) {
		t.Error("the replaced plugin took a job after its end")
	}
	if got := r.probe("one").Attributes["label"]; got != "new" {
		t.Errorf("got label %q, want new", got)
	}
}

func TestRefusalAfterARestart(t *testing.T) {
	r := newRig(t, nil)
	s := spec("a", "", map[string]string{"one": "refuse-second", "two": "label"})
	s.Env["TESTPLUGIN_STARTS"] = t.TempDir() + "/starts"
	r.apply(s)
	r.plugins["a"].current.Load().child.kill()
	r.eventually("a restart", func() bool { return r.status("a").Restarts == 1 && r.status("a").State == core.PluginRunning })
	if got, want := r.status("a").Problem, "refused its configuration: probes.one.config: once is enough"; got != want {
		t.Errorf("got problem %q, want %q", got, want)
	}
	if got := r.probe("one"); got.Reason != core.ReasonPluginUnavailable || !strings.Contains(got.Message, "once is enough") {
		t.Errorf("got %q %q, want plugin_unavailable with the refusal", got.Reason, got.Message)
	}
	if got := r.probe("two"); got.Outcome != core.OutcomeSuccess {
		t.Errorf("got %v, want success of the other probe", got.Outcome)
	}
}

// doing is a plugin that counts its starts and has one probe.
func doing(r *rig, do, label string) Spec {
	s := spec("a", "", nil)
	s.Probes = []ProbeSpec{{Name: "one", Kind: "echo", Config: config(map[string]any{"do": do, "label": label})}}
	s.Env["TESTPLUGIN_STARTS"] = r.runDir + "/starts"
	return s
}

// A process that does not answer may have the old configuration or the new one:
// it must not go on with either.
func TestReloadThatIsNotAnsweredStartsAnew(t *testing.T) {
	r := newRig(t, func(o *Options) { o.CallTimeout = 200 * time.Millisecond })
	r.apply(doing(r, "label", "old"))
	r.apply(doing(r, "hang-first", "new"))
	r.eventually("the new configuration", func() bool { return r.probe("one").Attributes["label"] == "new" })
	if want := "did not take its new configuration: configure one: no answer within 200ms"; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log does not say %q: %s", want, r.log)
	}
}

// When another plugin refuses the same reload, the one that did not answer gets
// its old configuration back, or is started with it.
func TestRefusedReloadThatIsNotAnswered(t *testing.T) {
	r := newRig(t, func(o *Options) { o.CallTimeout = 200 * time.Millisecond })
	b := labelled("b", "two", "old")
	r.apply(doing(r, "label", "old"), b)
	b.Probes = []ProbeSpec{{Name: "two", Kind: "echo", Config: config(map[string]any{"do": "refuse"})}}
	if err := r.Apply(context.Background(), []Spec{doing(r, "hang-first", "new"), b}); err == nil {
		t.Fatal("got no error, want the refusal of b")
	}
	r.eventually("the old configuration", func() bool { return r.probe("one").Attributes["label"] == "old" })
	if got := r.status("a"); got.Restarts != 1 {
		t.Errorf("got %+v, want a process that surely has the old configuration", got)
	}
}

// A run that may take longer than the drain timeout still has its result.
func TestReplacedPluginEndsItsLongRuns(t *testing.T) {
	r := newRig(t, func(o *Options) { o.DrainTimeout = 10 * time.Millisecond })
	s := labelled("a", "one", "old")
	s.Probes[0].Config = config(map[string]any{"wait_ms": 500, "label": "old"})
	r.apply(s)
	id := r.submit("one", 4*time.Second)
	r.eventually("in flight", func() bool { return r.status("a").InFlight == 1 })
	next := *s.clone()
	next.Env = map[string]string{"GENERATION": "2"}
	r.apply(next)
	if got := r.result(id); got.Outcome != core.OutcomeSuccess {
		t.Errorf("got %v %q %q, want success", got.Outcome, got.Reason, got.Message)
	}
}
