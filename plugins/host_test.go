package plugins

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestRunsJobs(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "", map[string]string{"one": "describe"}))
	due := time.Now().Add(-time.Second)
	if err := r.Submit(core.Job{ID: 1, Probe: "one", Target: core.Target{Endpoint: core.Endpoint{Host: "192.0.2.7", Port: 1}}, Due: due}); err != nil {
		t.Fatal(err)
	}
	got := r.result(1)
	if got.Outcome != core.OutcomeSuccess || got.Attributes["host"] != "192.0.2.7" || got.RTT != 200*time.Microsecond {
		t.Errorf("got %+v, want success of host 192.0.2.7 with RTT 200µs", got)
	}
	if got.QueueDelay < time.Second || got.QueueDelay > 10*time.Second || !got.Started.Equal(due.Add(got.QueueDelay)) {
		t.Errorf("got queue delay %v, started %v, due %v; want started = due + delay >= 1s", got.QueueDelay, got.Started, due)
	}
	st := r.status("a")
	if st.State != core.PluginRunning || st.Version != "1.2.3" || st.PID == 0 || st.Problem != "" || st.Jobs["success"] != 1 {
		t.Errorf("got status %+v, want running 1.2.3 with one success", st)
	}
	if err := r.Submit(core.Job{ID: 2, Probe: "two"}); !errors.Is(err, ErrUnknownProbe) {
		t.Errorf("submit to an unknown probe: got %v, want %v", err, ErrUnknownProbe)
	}
}

func TestProbesTakeSettingsThenDefaults(t *testing.T) {
	r := newRig(t, nil)
	s := spec("a", "", map[string]string{"one": "", "two": ""})
	s.Probes[0].Interval, s.Probes[0].Timeout = time.Minute, time.Second
	broken := spec("b", "exit", map[string]string{"three": ""})
	r.apply(s, broken)
	want := []core.ProbeInfo{
		{Name: "one", Plugin: "a", Kind: "echo", Interval: time.Minute, Timeout: time.Second, Identifies: true},
		{Name: "three", Plugin: "b", Kind: "echo", Interval: 30 * time.Second, Timeout: 10 * time.Second},
		{Name: "two", Plugin: "a", Kind: "echo", Interval: 7 * time.Second, Timeout: 3 * time.Second, Identifies: true},
	}
	got := r.Probes()
	if len(got) != len(want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("probe %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestPluginSeesNoHostSecrets(t *testing.T) {
	t.Setenv("CLOUD_SECRET", "hunter2")
	r := newRig(t, nil)
	s := spec("a", "", map[string]string{"one": "describe"})
	s.Env["EXTRA"] = "yes"
	s.Env["GOMAXPROCS"] = "2"
	r.apply(s)
	env := r.probe("one").Attributes["env"]
	if strings.Contains(env, "CLOUD_SECRET") || !strings.Contains(env, "EXTRA") || len(env) >= maxAttribute {
		t.Errorf("the plugin sees %s; want EXTRA and not the host's CLOUD_SECRET", env)
	}
	environ := strings.Join(environment(&s, hclog.Debug), "\n")
	for _, want := range []string{"GOMAXPROCS=1", "GOMEMLIMIT=64MiB", "EXTRA=yes", "PATH=", "NODEPROBE_LOG_LEVEL=debug"} {
		if !strings.Contains(environ, want) {
			t.Errorf("environment %q lacks %q", environ, want)
		}
	}
	if strings.LastIndex(environ, "GOMAXPROCS=2") < strings.LastIndex(environ, "GOMAXPROCS=1") {
		t.Errorf("environment %q: the settings' GOMAXPROCS must come last", environ)
	}
}

// grants are values by capability.
func grants(values map[string]string) func(string) ([]byte, bool) {
	return func(capability string) ([]byte, bool) {
		v, ok := values[capability]
		return []byte(v), ok
	}
}

func TestGrantsNeedBothSides(t *testing.T) {
	for _, tt := range []struct {
		name   string
		grants []string
		want   string
	}{
		{"allowed", []string{"identity"}, "secret"},
		{"not allowed", nil, ""},
		{"another", []string{"reflector"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(o *Options) {
				o.Grant = grants(map[string]string{"identity": "secret", "reflector": "other"})
			})
			s := spec("a", "", map[string]string{"one": "describe"})
			s.Grants = tt.grants
			r.apply(s)
			if got := r.probe("one").Attributes["grant"]; got != tt.want {
				t.Errorf("got grant %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRegrant(t *testing.T) {
	value := "old"
	r := newRig(t, func(o *Options) {
		o.Grant = func(string) ([]byte, bool) { return []byte(value), true }
	})
	s := spec("a", "", map[string]string{"one": "describe"})
	s.Grants = []string{"identity"}
	r.apply(s)
	pid := r.status("a").PID
	value = "new"
	r.Regrant(context.Background())
	if got := r.probe("one").Attributes["grant"]; got != "new" {
		t.Errorf("got grant %q after Regrant, want new", got)
	}
	if got := r.status("a").PID; got != pid {
		t.Errorf("got pid %d, want the same process %d", got, pid)
	}
}

func TestDeliver(t *testing.T) {
	r := newRig(t, nil)
	s := spec("a", "reporter", nil)
	s.Reporters = []ReporterSpec{{Name: "out", Kind: "sink"}}
	r.apply(s)
	got := r.Reporters()
	if len(got) != 1 || got[0].Name != "out" || len(got[0].Wants) != 1 || got[0].Wants[0] != core.RecordSnapshot {
		t.Errorf("got reporters %+v, want out, which wants snapshots", got)
	}
	receipt, err := r.Deliver(context.Background(), "out", []core.Record{{Seq: 4}, {Seq: 7}})
	if err != nil || receipt.Through != 7 {
		t.Errorf("got %+v, %v; want through 7, no more than was sent", receipt, err)
	}
	if _, err := r.Deliver(context.Background(), "in", nil); !errors.Is(err, ErrUnknownReporter) {
		t.Errorf("got %v, want %v", err, ErrUnknownReporter)
	}
	r.apply(func() Spec { s.Env = map[string]string{"TESTPLUGIN": "exit"}; return s }())
	if _, err := r.Deliver(context.Background(), "out", []core.Record{{Seq: 9}}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want %v", err, ErrUnavailable)
	}
}

func TestDescribe(t *testing.T) {
	s := Spec{Name: "a", Path: testPlugin}
	got, err := Describe(context.Background(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != "1.2.3" || got.SHA256 != sum(t, testPlugin) || len(got.Probes) != 1 || string(got.Probes[0].Schema) != `{"type":"object"}` {
		t.Errorf("got %+v, want version 1.2.3 with one probe and its schema", got)
	}
	s.Env = map[string]string{"TESTPLUGIN": "exit"}
	_, err = Describe(context.Background(), s, nil)
	if want := "a ended at start with exit status 3: no licence for this host"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestManyJobsThroughFewSlots(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "few", map[string]string{"one": "label"}))
	for range 2000 {
		r.submit("one", 5*time.Second)
	}
	r.exactlyOnce()
	if got := r.status("a").Jobs["success"]; got != 2000 {
		t.Errorf("got %d successes, want 2000", got)
	}
}

func TestInventedAndRepeatedAnswersAreDropped(t *testing.T) {
	r := newRig(t, nil)
	r.apply(spec("a", "", map[string]string{"one": "invent"}))
	for range 50 {
		r.submit("one", time.Second)
	}
	r.exactlyOnce()
}
