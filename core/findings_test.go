package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told is a journal that writes down what it is told.
type told struct{ lines []string }

func (j *told) Found(probe string, kind EventKind, _, message string) {
	j.lines = append(j.lines, fmt.Sprintf("%s %s: %s", probe, kind, message))
}
func (j *told) End(kind EventKind, _ string) { j.lines = append(j.lines, "end "+string(kind)) }

func (j *told) Happened(probe string, kind EventKind, _, message string) {
	j.lines = append(j.lines, fmt.Sprintf("%s %s! %s", probe, kind, message))
}

func (j *told) take() string {
	defer func() { j.lines = nil }()
	slices.Sort(j.lines)
	return strings.Join(j.lines, ", ")
}

// run is a result of a probe at the first peer.
func run(probe string, o Outcome, found ...Finding) Result {
	return Result{Job: Job{Probe: probe, Target: Target{Node: testID(0)}}, Outcome: o, Findings: found}
}

func TestFindingsBeginAndEnd(t *testing.T) {
	hole := Finding{Kind: "hole", Message: "m"}
	worse := Finding{Kind: "hole", Message: "worse"}
	fell := Finding{Kind: "fell", Message: "1500 to 1400", Instant: true}
	now := time.Now()
	var j told
	f := newFindings(&j, nil)
	for i, step := range []struct {
		run  Result
		want string
		open int
	}{
		{run("b", OutcomeSuccess), "", 0},
		{run("b", OutcomeFailure, hole), "b hole: m", 1},
		{run("b", OutcomeUnsupported), "", 1},
		{run("b", OutcomePluginError), "", 1},
		{run("a", OutcomeSuccess), "", 1},
		{run("b", OutcomeSuccess, worse, fell), "b fell! 1500 to 1400, b hole: worse", 1},
		{run("a", OutcomeSuccess, hole), "a hole: m", 2}, // now the first by name
		{run("b", OutcomeSuccess), "", 2},                // one run ends nothing
		{run("b", OutcomeSuccess), "a hole: m", 1},       // the other one still finds it
		{run("b", OutcomeSuccess, worse), "", 1},
		{run("b", OutcomeSuccess, worse), "a hole: m", 2}, // and its words count
		{run("a", OutcomeSuccess), "", 2},
		{run("a", OutcomeUnsupported), "", 2},
		{run("a", OutcomeSuccess), "b hole: worse", 1},
		{run("b", OutcomeFailure), "", 1},
		{run("b", OutcomeFailure), "end hole", 0},
		{run("b", OutcomeFailure), "", 0},
		{run("b", OutcomeUnsupported, hole), "", 0},
	} {
		f.take(now, step.run)
		if got := j.take(); got != step.want || len(f.list()) != step.open {
			t.Errorf("step %d: got %q and %d open, want %q and %d", i, got, len(f.list()), step.want, step.open)
		}
	}
}

// What comes and goes with every run is one event; what comes back after a while
// is told at once.
func TestFindingsThatComeAndGo(t *testing.T) {
	hole := Finding{Kind: "hole", Message: "m"}
	now := time.Now()
	var j told
	f := newFindings(&j, nil)
	step := func(want string, found ...Finding) {
		t.Helper()
		now = now.Add(time.Minute)
		f.take(now, run("a", OutcomeSuccess, found...))
		if got := j.take(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	step("a hole: m", hole)
	for range 50 {
		step("")
		step("a hole: m", hole) // the journal has it already
	}
	step("")
	step("end hole")
	for range 4 {
		step("", hole)
		step("")
	}
	step("", hole)
	step("a hole: m", hole)
	step("")
	step("end hole")
	now = now.Add(restless)
	step("a hole: m", hole)
	if got := f.list(); len(got) != 1 || !got[0].Since.Equal(now) {
		t.Errorf("got %+v, want one since %s", got, now)
	}
}

func TestConditionsAreBounded(t *testing.T) {
	f := newFindings(nil, nil)
	now := time.Now()
	for i := range 10 * maxConditions {
		f.take(now, run("a", OutcomeSuccess, Finding{Kind: EventKind(fmt.Sprint("kind_", i))}))
	}
	if n := len(f.allLocked()); n != maxConditions {
		t.Errorf("got %d conditions, want %d", n, maxConditions)
	}
	f.take(now.Add(restless), run("a", OutcomeSuccess))
	f.take(now.Add(restless), run("a", OutcomeSuccess))
	f.take(now.Add(2*restless), run("a", OutcomeSuccess))
	if n := len(f.nodes); n != 0 {
		t.Errorf("got %d nodes, want all forgotten", n)
	}
}

func TestWhatHappensIsBounded(t *testing.T) {
	var j told
	f := newFindings(&j, nil)
	now := time.Now()
	for i := range 100 {
		f.take(now.Add(time.Duration(i)*time.Second), run("a", OutcomeSuccess, Finding{Kind: "fell", Instant: true}))
	}
	if got := strings.Count(j.take(), "fell!"); got != 2*maxHappened {
		t.Errorf("got %d events in 100 s, want %d", got, 2*maxHappened)
	}
}

func TestFindingsOfALastRun(t *testing.T) {
	began := time.Now().Add(-time.Hour)
	open := []Event{
		{Kind: "hole", Subject: testID(0).String(), Source: "a", Message: "m", Began: began},
		{Kind: EventNodeState, Subject: testID(0).String(), Began: began},
		{Kind: "hole", Subject: "no node", Source: "a"},
	}
	var j told
	f := newFindings(&j, open)
	if got := f.list(); len(got) != 1 || !got[0].Since.Equal(began) {
		t.Fatalf("got %+v, want the one of a probe", got)
	}
	f.take(time.Now(), run("a", OutcomeSuccess, Finding{Kind: "hole", Message: "m"}))
	if got := f.list(); len(got) != 1 || !got[0].Since.Equal(began) {
		t.Errorf("got %+v, want it to go on", got)
	}
	j.take()
	f.take(time.Now(), run("a", OutcomeSuccess))
	f.take(time.Now(), run("a", OutcomeSuccess))
	if got := j.take(); got != "end hole" {
		t.Errorf("got %q, want its end", got)
	}
}

func TestEngineEndsFindingsOfPathsThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		var j told
		o := r.options(answering(func(j Job) Result {
			out := success(j)
			out.Findings = []Finding{{Kind: "hole", Message: j.Probe}}
			return out
		}))
		o.Journal, o.Open = &j, []Event{{Kind: "old", Subject: testID(0).String(), Source: "p0"}}
		e, stop := start(t, o)
		e.SetProbes(testProbes(2))
		if len(e.Findings()) != 1 {
			t.Error("a finding ended before the peers were known")
		}
		e.SetPeers(testPeers(2))
		time.Sleep(3 * testInterval)
		if got := e.Findings(); len(got) != 4 {
			t.Errorf("got %+v, want 2 probes at 2 peers", got)
		}
		if _, err := e.Probe(t.Context(), "p0", Target{Node: testID(1), Endpoint: testPeers(2)[1].Target.Endpoint}); err != nil {
			t.Error(err)
		}
		e.SetProbes(testProbes(1))
		if got := e.Findings(); len(got) != 2 {
			t.Errorf("got %+v after a probe is gone, want 1 at 2 peers", got)
		}
		e.SetPeers(testPeers(1))
		if got := e.Findings(); len(got) != 1 {
			t.Errorf("got %+v after a peer is gone, want 1", got)
		}
		stop()
		if text := j.take(); !strings.Contains(text, "end old") || !strings.Contains(text, "end hole") {
			t.Errorf("got %s", text)
		}
	})
}

func TestAnotherNodesFindingsAreNotTaken(t *testing.T) {
	r := run("a", OutcomeSuccess, Finding{Kind: "hole"})
	r.Documents = []Document{{Name: "hops", ID: "1", JSON: []byte("{}")}}
	r.Learned = &Learned{Identity: &Identity{ID: testID(9)}}
	if got := aboutPath(r); got.Outcome != OutcomeFailure || got.Findings != nil || got.Documents != nil {
		t.Errorf("got %+v, want a failure without findings", got)
	}
}
