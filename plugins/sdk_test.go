package plugins

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// A plugin made with the SDK, as a third party's is, started after its hash was
// checked.
func TestPluginMadeWithTheSDK(t *testing.T) {
	r := newRig(t, nil)
	s := thirdParty(t, spec("a", "sdk", map[string]string{"good": "", "fail": "fail", "unsupported": "unsupported", "panics": "panic", "overrun": "overrun", "print": "print"}))
	s.Reporters = []ReporterSpec{{Name: "out", Kind: "sink"}}
	r.apply(s)
	for _, tt := range []struct {
		probe   string
		outcome core.Outcome
		reason  core.Reason
		message string
	}{
		{"good", core.OutcomeSuccess, "", ""},
		{"fail", core.OutcomeFailure, "refused", "nobody listens on 192.0.2.1"},
		{"unsupported", core.OutcomeUnsupported, "unsupported", "no such thing here"},
		{"panics", core.OutcomePluginError, "internal", "boom in a probe"},
		{"print", core.OutcomeSuccess, "", ""},
	} {
		got := r.probe(tt.probe)
		if got.Outcome != tt.outcome || got.Reason != tt.reason || !strings.Contains(got.Message, tt.message) {
			t.Errorf("%s: got %v %q %q, want %v %q %q", tt.probe, got.Outcome, got.Reason, got.Message, tt.outcome, tt.reason, tt.message)
		}
	}
	r.eventually("the author's warning", func() bool { return strings.Contains(r.log.String(), "an author's warning") })
	for _, want := range []string{`"@level":"warn"`, `"host":"192.0.2.1"`, `"plugin":"a"`} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("log lacks %s", want)
		}
	}
	receipt, err := r.Deliver(context.Background(), "out", []core.Record{{Seq: 4, At: time.Now(), Payload: []byte("{}")}, {Seq: 9, At: time.Now(), Payload: []byte("{}")}})
	if err != nil || receipt.Through != 4 || !receipt.Retryable || receipt.RetryAfter != time.Minute || receipt.Problem != "the rest later" {
		t.Errorf("got %+v, %v; want through 4, the rest in a minute", receipt, err)
	}
	if st := r.status("a"); st.Restarts != 0 {
		t.Errorf("got %+v, want no restart", st)
	}
}

func TestCountersOfAPlugin(t *testing.T) {
	r := newRig(t, quickPulse)
	r.apply(spec("a", "sdk", map[string]string{"good": ""}))
	r.eventually("counters with names that can be told", func() bool {
		return maps.Equal(r.status("a").Counters, map[string]uint64{"knocks": 3})
	})
}

func TestCountersAreBounded(t *testing.T) {
	told := make(map[string]uint64)
	for i := range 2 * maxCounters {
		told[fmt.Sprintf("n%02d", i)] = uint64(i)
	}
	got := countersOf(&pluginv1.HealthResponse{Counters: told})
	if len(got) != maxCounters || got["n31"] != 31 {
		t.Errorf("got %v, want the first %d", got, maxCounters)
	}
}

// The SDK answers for a run that ignores its deadline; the host is more patient
// than that, or it would take the process for hung.
func TestOverrunIsAnsweredByTheSDK(t *testing.T) {
	r := newRig(t, func(o *Options) { o.JobGrace = 0 })
	r.apply(spec("a", "sdk", map[string]string{"overrun": "overrun"}))
	got := r.result(r.submit("overrun", 50*time.Millisecond))
	if got.Outcome != core.OutcomePluginError || !strings.Contains(got.Message, "ignored its deadline of 50ms") {
		t.Errorf("got %v %q %q, want plugin_error that names the deadline", got.Outcome, got.Reason, got.Message)
	}
}

// What the SDK sees of its runs is the plugin's state to an operator.
func TestRunsThatIgnoreDeadlinesAreTold(t *testing.T) {
	r := newRig(t, func(o *Options) { quickPulse(o); o.JobGrace = 0 })
	r.apply(spec("a", "sdk", map[string]string{"overrun": "overrun", "good": ""}))
	r.submit("overrun", 10*time.Millisecond)
	want := "is not well: 1 of 64 runs in flight ignore their deadline"
	r.eventually("the problem", func() bool { return r.status("a").Problem == want })
	if got := r.probe("good"); got.Outcome != core.OutcomeSuccess || r.status("a").State != core.PluginRunning {
		t.Errorf("got %v in %+v, want that it serves", got.Outcome, r.status("a"))
	}
	if !strings.Contains(r.log.String(), "plugin is not well") {
		t.Errorf("the log does not tell of it: %s", r.log)
	}
}

// A process without a place left echoes heartbeats for ever and measures nothing.
func TestPluginWithoutAPlaceIsReplaced(t *testing.T) {
	r := newRig(t, func(o *Options) { quickPulse(o); o.JobGrace = 0 }) // the SDK answers first
	r.apply(spec("a", "sdk", map[string]string{"overrun": "overrun", "good": ""}))
	for range 64 {
		r.submit("overrun", 10*time.Millisecond)
	}
	r.eventually("a restart", func() bool { return r.status("a").Restarts == 1 })
	r.serves("good")
	if want := "was killed, as it was not well: 64 of 64 runs in flight ignore their deadline"; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log does not say %q: %s", want, r.log)
	}
	r.exactlyOnce()
}

// No limit on memory: the race detector's shadow alone is larger.
func TestBuiltinIsTheRunningBinary(t *testing.T) {
	r := newRig(t, nil)
	r.apply(Spec{Name: "self", Builtin: true, MemoryLimit: -1, Env: map[string]string{envSelf: "1"}, Probes: []ProbeSpec{{Name: "self", Kind: "self"}}})
	want, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got := r.probe("self"); got.Attributes["exe"] != want {
		t.Errorf("got %v %q, exe %q; want %q", got.Outcome, got.Message, got.Attributes["exe"], want)
	}
}
