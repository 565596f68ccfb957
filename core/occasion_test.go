package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// path is a mesh of self and one peer: what the identifying probe p0 says can be
// changed, p1 wants to run on every occasion, once an hour otherwise.
type path struct {
	t    *testing.T
	d    *fakeDispatcher
	e    *Engine
	peer Peer
	seen int

	began time.Time
	down  bool
	hints map[string]bool // by probe: its runs have a hint
	view  []PathStatus
}

func newPath(t *testing.T) *path {
	p := &path{t: t, peer: testPeers(1)[0], began: time.Now()}
	p.d = answering(nil)
	p.d.run = func(j Job) Result {
		out := success(j)
		if p.hints[j.Probe] {
			out.Hint = "segments are sent again"
		}
		if j.Identifies && p.down {
			return failure(j)
		}
		if j.Identifies {
			out.Learned = &Learned{Identity: &Identity{ID: j.Target.Node}, View: p.view}
		}
		return out
	}
	var r recorder
	p.e, _ = start(t, r.options(p.d))
	p.e.SetProbes([]ProbeInfo{
		{Name: "p0", Interval: testInterval, Identifies: true, Occasions: Occasions()},
		{Name: "p1", Interval: time.Hour, Occasions: Occasions()},
		{Name: "p2", Interval: time.Hour},
		{Name: "p3", Interval: time.Hour, Occasions: []Occasion{OccasionRecovery}},
	})
	p.e.SetPeers([]Peer{p.peer})
	return p
}

// change does something to the path between two runs.
func (p *path) change(f func()) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	f()
}

// runs are the runs of all probes but p0 since the last call.
func (p *path) runs(after time.Duration) string {
	time.Sleep(after)
	synctest.Wait()
	var out []string
	all := p.d.seen()
	for _, j := range all[p.seen:] {
		if j.Probe != "p0" {
			out = append(out, strings.TrimSpace(fmt.Sprint(j.Probe, " ", j.Occasion)))
		} else if j.Occasion != "" {
			p.t.Errorf("an identifying probe has the occasion %s", j.Occasion)
		}
	}
	p.seen = len(all)
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (p *path) want(when string, after time.Duration, want string) {
	p.t.Helper()
	if got := p.runs(after); got != want {
		p.t.Errorf("%s: got %q, want %q", when, got, want)
	}
}

func TestOccasions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t)
		self, peer := testID(-1), p.peer.Target.Node
		cell := func(to NodeID, probe string, o Outcome) PathStatus {
			return PathStatus{Destination: to, Probe: probe, Outcome: o, At: time.Now()}
		}
		p.want("first contact", time.Second, "p1 first_contact, p2, p3")
		p.peer.Target.Services = []Service{{Name: "echo", Port: 7, Key: "k"}}
		p.e.SetPeers([]Peer{p.peer})
		p.want("services", time.Second, "p1 services")
		p.e.SetPeers([]Peer{p.peer})
		p.want("the same services", 2*testInterval, "")

		p.change(func() { p.down = true })
		p.want("failure", 2*testInterval, "p1 failure")
		p.want("it goes on", 4*testInterval, "")
		p.change(func() { p.down = false })
		p.want("recovery", 2*testInterval, "p1 recovery, p3 recovery")

		p.change(func() {
			p.view = []PathStatus{cell(self, "p1", OutcomeFailure), cell(peer, "p0", OutcomeFailure), cell(self, "p0", OutcomePluginError)}
		})
		p.want("nothing that says that self is not reached", 3*testInterval, "")
		p.change(func() { p.view = []PathStatus{cell(self, "p0", OutcomeFailure)} })
		p.want("the peer does not reach self", 3*testInterval, "p1 failure")
		p.change(func() { p.view = nil })
		p.want("not modified", 3*testInterval, "")
		p.change(func() { p.view = []PathStatus{cell(self, "p0", OutcomeSuccess)} })
		p.want("the peer reaches self again", 3*testInterval, "p1 recovery, p3 recovery")
	})
}

func TestHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t)
		p.want("first contact", time.Second, "p1 first_contact, p2, p3")
		p.change(func() { p.hints = map[string]bool{"p0": true, "p1": true} })
		p.want("the identifying probe hints", 2*testInterval, "p1 hint")
		p.want("and goes on: not that of p1 itself", testInterval, "")
		p.change(func() { p.hints = nil })
		p.runs(2 * time.Minute)
		p.change(func() { p.hints, p.down = map[string]bool{"p0": true}, true })
		p.want("a failure is more than a hint", 2*testInterval, "p1 failure")
		p.change(func() { p.hints, p.down = nil, false })
		p.runs(2 * time.Minute)
		p.want("nothing is left over", 5*time.Minute, "")
	})
}

// An end is confirmed soon, however rarely the probe runs.
func TestEndOfAFindingIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t)
		p.want("first contact", time.Second, "p1 first_contact, p2, p3")
		r := run("p2", OutcomeSuccess, Finding{Kind: "hole"})
		r.Job.Target = p.peer.Target
		p.e.accept(r)
		p.want("it is found", time.Minute, "")
		r.Findings = nil
		p.e.accept(r)
		if open := p.e.Findings(); len(open) != 1 {
			t.Errorf("got %v, want what one run does not end", open)
		}
		p.want("it was not found", doubtPause+time.Second, "p2")
		if open := p.e.Findings(); len(open) > 0 {
			t.Errorf("got %v, want its end", open)
		}
		p.want("it is over", 10*time.Minute, "")
	})
}

func TestConfirmingIsOnceAMinute(t *testing.T) {
	s := newSchedule(testID(-1), time.Now())
	now := time.Now()
	s.setProbes(now, []ProbeInfo{{Name: "p1", Interval: time.Hour}})
	peers := testPeers(1)
	s.setPeers(now, peers)
	now = now.Add(time.Second)
	e, _ := s.take(now, false)
	for i, want := range []time.Duration{doubtPause, occasionPause, occasionPause} {
		s.confirm(now, e)
		peers[0].Pace += time.Hour
		s.setPeers(now, peers) // a peer that is down is polled more rarely
		if due, _ := s.next(); due.Sub(now) != want {
			t.Errorf("run %d: got it in %s, want %s", i, due.Sub(now), want)
		}
		now = now.Add(want)
		if again, _ := s.take(now, false); again != e {
			t.Fatalf("run %d: got %v", i, again)
		}
	}
}

func TestOccasionsAreOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t)
		p.want("first contact", time.Second, "p1 first_contact, p2, p3")
		count := 0
		for i := range 600 { // the path flaps with every poll for ten minutes
			p.change(func() { p.down = i%2 == 0 })
			if err := p.e.Dial(p.peer.Target, TriggerConfirm, true); err != nil {
				t.Fatal(err)
			}
			count += strings.Count(p.runs(time.Second), "p1")
		}
		if count < 9 || count > 11 {
			t.Errorf("got %d runs in 10 minutes, want one a minute", count)
		}
		p.change(func() { p.down = false })
		p.runs(2 * time.Minute)
		p.want("later, nothing is left over", 5*time.Minute, "")
	})
}

func TestOccasionWaitsForTheRunUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(t)
		p.want("first contact", time.Second, "p1 first_contact, p2, p3")
		run := p.d.run
		var held []Job
		p.change(func() {
			p.d.run = func(j Job) Result {
				if j.Probe == "p1" {
					held = append(held, j)
					return Result{} // of no job: it is not answered
				}
				return run(j)
			}
			p.down = true
		})
		p.want("failure", 2*testInterval, "p1 failure")
		p.change(func() { p.down = false })
		p.want("recovery while it is out", 2*testInterval, "p3 recovery")
		p.change(func() { p.d.run = run })
		p.d.results <- []Result{success(held[0])}
		p.want("when it is back", 3*time.Second, "p1 recovery")
	})
}

// A peer that is down is polled more and more rarely: that must not put off what
// its failure asks for.
func TestPaceDoesNotTakeTheOccasion(t *testing.T) {
	s := newSchedule(testID(-1), time.Now())
	now := time.Now()
	s.setProbes(now, []ProbeInfo{{Name: "p1", Interval: time.Minute, Occasions: Occasions()}})
	peers := testPeers(1)
	s.setPeers(now, peers)
	now = now.Add(time.Second)
	e, _ := s.take(now, false)
	if o := e.spend(now); o != OccasionFirstContact {
		t.Fatalf("got %q, want the first contact", o)
	}
	s.occur(now, e.peer, OccasionFailure)
	peers[0].Pace = time.Hour
	s.setPeers(now, peers)
	if again, _ := s.take(now, false); again != e || e.spend(now) != OccasionFailure {
		t.Errorf("got %v, want the run that the failure asks for", again)
	}
	if due, _ := s.next(); due.Sub(now) < 50*time.Minute {
		t.Errorf("got the next run in %s, want the pace", due.Sub(now))
	}
}
