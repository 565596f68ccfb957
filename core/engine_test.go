package core

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// fakeDispatcher answers each job with what run says; a nil run never answers.
type fakeDispatcher struct {
	results chan []Result
	refuse  error

	mu   sync.Mutex
	run  func(Job) Result
	jobs []Job
}

func answering(run func(Job) Result) *fakeDispatcher {
	return &fakeDispatcher{results: make(chan []Result, 4096), run: run}
}

func (f *fakeDispatcher) Submit(j Job) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	f.jobs = append(f.jobs, j)
	if f.run != nil {
		f.results <- []Result{f.run(j)}
	}
	return nil
}

func (f *fakeDispatcher) Results() <-chan []Result { return f.results }

func (f *fakeDispatcher) seen() []Job {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Job(nil), f.jobs...)
}

func success(j Job) Result {
	return Result{Job: j, Outcome: OutcomeSuccess, Started: time.Now(), RTT: time.Millisecond}
}

func failure(j Job) Result {
	return Result{Job: j, Outcome: OutcomeFailure, Reason: ReasonTimeout, Started: time.Now()}
}

// saverFunc is a ResultSaver.
type saverFunc func(context.Context, []Result) error

func (f saverFunc) SaveResults(ctx context.Context, rs []Result) error { return f(ctx, rs) }

// recorder keeps what an engine tells.
type recorder struct {
	mu                         sync.Mutex
	observed, saved, committed []Result
	storeErrors                []error
	saveError                  error
}

func (r *recorder) options(d Dispatcher) EngineOptions {
	return EngineOptions{
		Dispatcher: d, Self: testID(-1), Log: hclog.NewNullLogger(),
		Store: saverFunc(func(_ context.Context, rs []Result) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.saveError == nil {
				r.saved = append(r.saved, rs...)
			}
			return r.saveError
		}),
		Observe:   func(x Result) { r.do(func() { r.observed = append(r.observed, x) }) },
		Committed: func(x []Result) { r.do(func() { r.committed = append(r.committed, x...) }) },
		StoreFailed: func(err error) {
			r.do(func() { r.storeErrors = append(r.storeErrors, err) })
		},
	}
}

func (r *recorder) do(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// start runs an engine until the test ends.
func start(t *testing.T, o EngineOptions) (e *Engine, stop func()) {
	e = NewEngine(o)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); done.Wait() }
	t.Cleanup(stop)
	return e, stop
}

func TestResultsAreObservedSavedAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := answering(success)
		e, stop := start(t, r.options(d))
		e.SetProbes(testProbes(2))
		e.SetPeers(testPeers(10))
		time.Sleep(10*testInterval - time.Second)
		stop()
		if len(r.observed) < 190 || len(r.observed) > 220 || len(r.saved) != len(r.observed) || len(r.committed) != len(r.saved) {
			t.Errorf("observed %d, saved %d, committed %d, want about 200 of each", len(r.observed), len(r.saved), len(r.committed))
		}
		paths, _ := e.View()
		if len(paths) != 20 || paths[0].Source != testID(-1) || paths[0].Outcome != OutcomeSuccess {
			t.Errorf("got %d paths, %+v", len(paths), paths[0])
		}
		s := e.Stats()
		if s.Runs != uint64(len(r.saved)) || s.Skipped+s.Dropped+s.Lost+s.Stray != 0 || s.InFlight+s.Unsaved != 0 || s.LatenessMax > time.Millisecond {
			t.Errorf("got %+v", s)
		}
		if n := s.Outcomes[RunKind{"p0", OutcomeSuccess}] + s.Outcomes[RunKind{"p1", OutcomeSuccess}]; len(s.Outcomes) != 2 || n != s.Runs {
			t.Errorf("got outcomes %v, want %d successes of two probes", s.Outcomes, s.Runs)
		}
		for _, j := range d.seen() {
			if j.Identifies != (j.Probe == "p0") || j.Timeout != 10*time.Second || j.ID == 0 || j.Due.IsZero() {
				t.Fatalf("got job %+v", j)
			}
		}
	})
}

// Runs that are soon due go together, a few at a time and not long before.
func TestRunsGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := answering(success)
		e, stop := start(t, r.options(d))
		e.SetProbes(testProbes(1))
		e.SetPeers(testPeers(100))
		time.Sleep(testInterval)
		before, wakes := len(d.seen()), map[time.Time]int{}
		time.Sleep(10 * testInterval)
		stop()
		last := map[NodeID]time.Time{}
		for _, j := range d.seen()[before:] {
			wakes[j.Due]++ // the time at which it was made: it is never late here
			if gap := j.Due.Sub(last[j.Target.Node]); gap < testInterval*7/10 {
				t.Fatalf("gap of %s, want at least 0.8 intervals less the lead of 1.5 s", gap)
			}
			last[j.Target.Node] = j.Due
		}
		if len(wakes) > 200 {
			t.Errorf("woke up %d times for 1000 runs, want about 170", len(wakes))
		}
		for at, n := range wakes {
			if n > together {
				t.Errorf("%d runs at %s, want at most %d", n, at, together)
			}
		}
	})
}

func TestJobWithoutResultIsReclaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := answering(nil)
		e, stop := start(t, r.options(d))
		e.SetProbes(testProbes(1))
		e.SetPeers(testPeers(1))
		time.Sleep(5 * testInterval)
		late := success(d.seen()[0])
		d.results <- []Result{late}
		time.Sleep(time.Second)
		stop()
		s := e.Stats()
		if s.Lost < 4 || s.Stray != 1 || s.Runs < 5 {
			t.Errorf("got %+v, want every job reclaimed and the late result dropped", s)
		}
		if len(r.observed) != int(s.Lost) || r.observed[0].Outcome != OutcomePluginError || r.observed[0].Reason != ReasonPluginHung {
			t.Errorf("observed %+v", r.observed)
		}
	})
}

func TestRefusedJobIsAPluginError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := answering(success)
		d.refuse = errors.New("unknown probe")
		e, _ := start(t, r.options(d))
		e.SetProbes(testProbes(1))
		e.SetPeers(testPeers(1))
		time.Sleep(time.Second)
		r.do(func() {
			if len(r.observed) != 1 || r.observed[0].AboutTarget() {
				t.Errorf("observed %+v, want one plugin error", r.observed)
			}
		})
		if err := e.Dial(Target{}, TriggerDiscovery, false); !errors.Is(err, d.refuse) {
			t.Errorf("dial: got %v, want %v", err, d.refuse)
		}
		if _, err := e.Probe(t.Context(), "p0", Target{}); !errors.Is(err, d.refuse) {
			t.Errorf("probe: got %v, want %v", err, d.refuse)
		}
		if s := e.Stats(); s.InFlight != 0 {
			t.Errorf("%d jobs in flight", s.InFlight)
		}
	})
}

func TestDialRunsTheIdentifyingProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := answering(success)
		e, stop := start(t, r.options(d))
		to := Target{Endpoint: Endpoint{"10.9.9.9", 443}}
		if err := e.Dial(to, TriggerDiscovery, true); !errors.Is(err, ErrUnknownProbe) {
			t.Errorf("got %v without probes, want ErrUnknownProbe", err)
		}
		e.SetProbes(testProbes(3))
		if err := e.Dial(to, TriggerDiscovery, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		stop()
		j := d.seen()[0]
		if j.Probe != "p0" || !j.Identifies || !j.Fresh || j.Trigger != TriggerDiscovery || j.Target.Endpoint != to.Endpoint {
			t.Errorf("got %+v", j)
		}
		if len(r.observed) != 1 || len(r.saved) != 0 {
			t.Errorf("observed %d, saved %d: a candidate's result is not history", len(r.observed), len(r.saved))
		}
	})
}

func TestManualRunIsNeitherObservedNorSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := answering(failure)
		e, stop := start(t, r.options(d))
		e.SetProbes(testProbes(2))
		got, err := e.Probe(t.Context(), "p1", Target{Endpoint: Endpoint{"10.0.0.1", 443}})
		if err != nil || got.Reason != ReasonTimeout || got.Job.Trigger != TriggerManual {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := e.Probe(t.Context(), "nope", Target{}); !errors.Is(err, ErrUnknownProbe) {
			t.Errorf("got %v, want ErrUnknownProbe", err)
		}
		d.mu.Lock()
		d.run = nil
		d.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := e.Probe(ctx, "p1", Target{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
		if j := d.seen()[1]; j.Timeout > time.Second {
			t.Errorf("timeout %s is longer than the caller waits", j.Timeout)
		}
		done := make(chan error, 1)
		go func() {
			_, err := e.Probe(context.Background(), "p1", Target{})
			done <- err
		}()
		synctest.Wait()
		stop()
		if err := <-done; !errors.Is(err, ErrStopped) {
			t.Errorf("got %v, want ErrStopped", err)
		}
		if len(r.observed)+len(r.saved) != 0 {
			t.Errorf("observed %d, saved %d", len(r.observed), len(r.saved))
		}
	})
}

func TestStoreThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		r.saveError = errors.New("disk full")
		e, stop := start(t, r.options(answering(success)))
		e.SetProbes(testProbes(1))
		e.SetPeers(testPeers(10))
		time.Sleep(10 * testInterval)
		if s := e.Stats(); s.Unsaved < 95 || s.Dropped != 0 {
			t.Errorf("got %+v, want all results waiting", s)
		}
		r.do(func() { r.saveError = nil })
		time.Sleep(2 * testInterval)
		stop()
		if s := e.Stats(); uint64(len(r.saved)) != s.Runs || s.Unsaved != 0 {
			t.Errorf("saved %d of %d", len(r.saved), s.Runs)
		}
		if len(r.storeErrors) != 2 || r.storeErrors[0] == nil || r.storeErrors[1] != nil {
			t.Errorf("told %v, want one failure and one recovery", r.storeErrors)
		}
		for i := 1; i < len(r.saved); i++ {
			if r.saved[i].Job.ID < r.saved[i-1].Job.ID {
				t.Fatal("results are out of order")
			}
		}
	})
}

// Results wait a second for one another, but not when there are enough.
func TestResultsAreSavedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		s := newSaver(saverFunc(func(_ context.Context, rs []Result) error {
			time.Sleep(20 * time.Millisecond)
			sizes = append(sizes, len(rs))
			return nil
		}), nil, nil, hclog.NewNullLogger())
		var done sync.WaitGroup
		done.Go(s.run)
		for range 300 {
			s.add(make([]Result, 1))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(2 * linger)
		s.add(make([]Result, enough))
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if len(sizes) != 4 || sizes[0] < 90 || sizes[1] < 90 || sizes[3] != enough {
			t.Errorf("saved %v, want about 100 a second, then %d at once", sizes, enough)
		}
		s.close()
		done.Wait()
	})
}

func TestHangingStoreNeverBlocksIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		o := r.options(answering(success))
		release := make(chan struct{})
		o.Store = saverFunc(func(ctx context.Context, rs []Result) error {
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
			return nil
		})
		e, stop := start(t, o)
		e.SetProbes(testProbes(1))
		e.SetPeers(testPeers(1000))
		time.Sleep(12 * testInterval)
		s := e.Stats()
		if s.Dropped == 0 || s.Unsaved > maxBacklog+maxSaved {
			t.Errorf("got %+v, want a bounded backlog", s)
		}
		r.do(func() {
			if len(r.observed) != int(s.Runs) || len(r.storeErrors) != 1 || !errors.Is(r.storeErrors[0], ErrBacklogFull) {
				t.Errorf("observed %d of %d, told %v", len(r.observed), s.Runs, r.storeErrors)
			}
		})
		close(release)
		time.Sleep(time.Second)
		r.do(func() {
			if len(r.storeErrors) != 2 || r.storeErrors[1] != nil {
				t.Errorf("told %v, want the recovery", r.storeErrors)
			}
		})
		stop()
	})
}

func TestWhatWaitsCanBeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		e, stop := start(t, r.options(answering(success)))
		e.SetProbes(testProbes(2))
		e.SetPeers(testPeers(3))
		time.Sleep(2 * testInterval)
		if got := e.Waiting(testID(1), testProbes(2)[0].Name); len(got) != 0 {
			t.Errorf("got %d waiting results of a store that is well", len(got))
		}
		r.do(func() { r.saveError = errors.New("full") })
		from := time.Now()
		time.Sleep(4 * testInterval)
		q := HistoryQuery{From: from, To: time.Now(), Step: testInterval}
		buckets := q.Buckets()
		for _, x := range e.Waiting(testID(1), testProbes(2)[0].Name) {
			q.Add(buckets, x)
		}
		runs := 0
		for _, b := range buckets {
			if runs += b.Runs; b.Runs > 0 && (b.Failures > 0 || b.Min != 0.001 || b.Mean != 0.001 || b.Max != 0.001) {
				t.Errorf("got %+v", b)
			}
		}
		if runs < 3 || runs > 5 {
			t.Errorf("got %d runs of one path in four intervals", runs)
		}
		r.do(func() { r.saveError = nil })
		time.Sleep(maxRetry + testInterval)
		if got := e.Waiting(testID(1), testProbes(2)[0].Name); len(got) != 0 {
			t.Errorf("%d results wait when the store is well again", len(got))
		}
		stop()
	})
}

func TestShutdownSavesWhatCameIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		o := r.options(answering(success))
		o.Store = saverFunc(func(ctx context.Context, rs []Result) error {
			time.Sleep(2 * time.Second)
			r.do(func() { r.saved = append(r.saved, rs...) })
			return ctx.Err()
		})
		e, stop := start(t, o)
		e.SetProbes(testProbes(1))
		e.SetPeers(testPeers(100))
		time.Sleep(500 * time.Millisecond)
		stop()
		if s := e.Stats(); len(r.saved) != int(s.Runs) || s.Unsaved != 0 {
			t.Errorf("saved %d of %d", len(r.saved), s.Runs)
		}
	})
}

func TestViewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := answering(success)
		e, _ := start(t, r.options(d))
		e.SetProbes([]ProbeInfo{{Name: "fast", Interval: time.Second, Identifies: true}})
		e.SetPeers(testPeers(1))
		time.Sleep(5 * time.Second)
		_, first := e.View()
		time.Sleep(ViewHold - 10*time.Second)
		if _, v := e.View(); v != first {
			t.Errorf("version moved from %d to %d with nothing new", first, v)
		}
		time.Sleep(10 * time.Second)
		_, second := e.View()
		if second != first+1 {
			t.Errorf("got version %d after ViewHold, want %d", second, first+1)
		}
		d.mu.Lock()
		d.run = failure
		d.mu.Unlock()
		time.Sleep(2 * time.Second)
		paths, third := e.View()
		if third != second+1 || paths[0].Reason != ReasonTimeout {
			t.Errorf("got version %d with %+v, want %d and the failure", third, paths, second+1)
		}
		e.SetPeers(nil)
		if paths, v := e.View(); len(paths) != 0 || v == third {
			t.Errorf("got %d paths, version %d, after the peer went", len(paths), v)
		}
	})
}

// A figure that has really changed is told after viewPause at the latest.
func TestViewVersionMovesWithFigures(t *testing.T) {
	base := PathStatus{Outcome: OutcomeSuccess, RTT: 4 * time.Millisecond, Metrics: []Metric{
		{"loss_ratio", 0.02}, {"pmtu_bytes", 1500}, {"jitter_seconds", 0.001},
	}}
	for name, c := range map[string]struct {
		change func(r *Result)
		moves  bool
	}{
		"RTT a little":  {func(r *Result) { r.RTT += 900 * time.Microsecond }, false},
		"RTT":           {func(r *Result) { r.RTT -= time.Millisecond }, true},
		"loss a little": {func(r *Result) { r.Metrics[0].Value += 0.005 }, false},
		"loss":          {func(r *Result) { r.Metrics[0].Value += 0.02 }, true},
		"PMTU":          {func(r *Result) { r.Metrics[1].Value -= 8 }, true},
		"jitter":        {func(r *Result) { r.Metrics[2].Value *= 2 }, false},
		"lost metric":   {func(r *Result) { r.Metrics = r.Metrics[:2] }, true},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			v := newView(testID(-1), now)
			r := Result{
				Job: Job{Probe: "p0", Target: testPeers(1)[0].Target}, Outcome: base.Outcome, RTT: base.RTT,
				Metrics: slices.Clone(base.Metrics),
			}
			v.put(now, r)
			_, first := v.get()
			r.Metrics = slices.Clone(r.Metrics)
			c.change(&r)
			v.put(now.Add(viewPause-1), r)
			if _, got := v.get(); got != first {
				t.Errorf("version moved before viewPause")
			}
			v.put(now.Add(viewPause), r)
			if _, got := v.get(); got != first && !c.moves || got != first+1 && c.moves {
				t.Errorf("version moved from %d to %d, want a move: %v", first, got, c.moves)
			}
		})
	}
}

// What there was no figure of before is told at once: peers have nothing yet.
func TestViewVersionMovesWithANewFigure(t *testing.T) {
	now := time.Now()
	v := newView(testID(-1), now)
	r := Result{Job: Job{Probe: "p0", Target: testPeers(1)[0].Target}, Outcome: OutcomeSuccess, Metrics: []Metric{{"pmtu_at_least_bytes", 1280}}}
	v.put(now, r)
	_, first := v.get()
	r.Metrics = []Metric{{"pmtu_bytes", 1500}}
	v.put(now.Add(time.Second), r)
	if _, got := v.get(); got != first+1 {
		t.Errorf("got version %d after a new figure, want %d", got, first+1)
	}
	v.put(now.Add(2*time.Second), r)
	if _, got := v.get(); got != first+1 {
		t.Errorf("got version %d with nothing new, want %d", got, first+1)
	}
}

func TestMissElsewhereIsNotTheLatestWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		d := answering(success)
		e, _ := start(t, r.options(d))
		e.SetProbes(testProbes(1))
		e.SetPeers(testPeers(1))
		time.Sleep(time.Second)
		d.mu.Lock()
		d.run = failure
		d.mu.Unlock()
		other := Target{Node: testID(0), Endpoint: Endpoint{"192.0.2.1", 443}}
		if err := e.Dial(other, TriggerConfirm, true); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if paths, _ := e.View(); len(paths) != 1 || paths[0].Outcome != OutcomeSuccess {
			t.Errorf("got %+v, want the success at the current endpoint", paths)
		}
	})
}

func TestAnswerOfAnotherNodeIsAFailure(t *testing.T) {
	target := Target{Node: testID(1)}
	r := Result{Job: Job{Target: target}, Outcome: OutcomeSuccess, RTT: 1, Learned: &Learned{
		Identity: &Identity{ID: testID(2)}, Peers: []PeerHint{{}}, View: []PathStatus{{}},
	}}
	if got := aboutPath(r); got.Outcome != OutcomeFailure || got.Reason != ReasonIdentity || got.Learned != nil || got.RTT != 0 {
		t.Errorf("got %+v", got)
	}
	r.Learned.Identity.ID = testID(1)
	r.Learned.View[0].Source = testID(7)
	got := aboutPath(r)
	if got.Outcome != OutcomeSuccess || got.Learned.Peers != nil || got.Learned.View[0].Source != testID(1) {
		t.Errorf("got %+v, want a node to speak for itself only", got)
	}
	if r.Learned.View[0].Source != testID(7) || r.Learned.Peers == nil {
		t.Error("the observer's result was changed")
	}
	key := KeyHash{1}
	if !answers(Target{Node: testID(1), Key: key}, Identity{ID: testID(2), Key: key}) {
		t.Error("the key does not decide")
	}
}

func TestLateness(t *testing.T) {
	var l lateness
	now := time.Now()
	for range 990 {
		l.add(now, 100*time.Microsecond)
	}
	for range 10 {
		l.add(now, time.Second)
	}
	if worst, p99 := l.read(now); worst != time.Second || p99 != 128*time.Microsecond {
		t.Errorf("got max %s, p99 %s", worst, p99)
	}
	l.add(now, time.Second)
	if _, p99 := l.read(now.Add(latenessWindow)); p99 != time.Second {
		t.Errorf("got p99 %s, want 1s", p99)
	}
	if worst, p99 := l.read(now.Add(3 * latenessWindow)); worst != 0 || p99 != 0 {
		t.Errorf("got max %s, p99 %s long after", worst, p99)
	}
}

// BenchmarkScheduler1000Peers is the cost of a job from its turn to the view,
// with 1,000 peers and 3 probes, without plugin and store.
func BenchmarkScheduler1000Peers(b *testing.B) {
	e := NewEngine(EngineOptions{
		Dispatcher: answering(nil), Observe: func(Result) {},
		Store: saverFunc(func(context.Context, []Result) error { return nil }), Self: testID(-1),
	})
	e.SetProbes(testProbes(3))
	e.SetPeers(testPeers(1000))
	var jobs []Job
	var results []Result
	now := time.Now()
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; {
		now = now.Add(100 * time.Millisecond)
		jobs = e.tick(now, jobs[:0])
		results = results[:0]
		for _, j := range jobs {
			results = append(results, Result{Job: j, Outcome: OutcomeSuccess, Started: now, RTT: time.Millisecond})
		}
		e.land(results)
		e.saver.take()
		done += len(jobs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/job")
}
