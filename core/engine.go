package core

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ErrUnknownProbe: no probe of that name, or none that identifies, is configured.
var ErrUnknownProbe = errors.New("unknown probe")

// ErrStopped: the engine no longer runs.
var ErrStopped = errors.New("engine stopped")

// Dispatcher runs jobs. Submit never blocks; when it returns nil, exactly one
// result of the job follows on Results.
type Dispatcher interface {
	Submit(j Job) error
	Results() <-chan []Result
}

// ResultSaver stores results for good: it returns after the commit.
type ResultSaver interface {
	SaveResults(ctx context.Context, rs []Result) error
}

// EngineOptions are what an Engine needs. Every func may be nil; none may block.
type EngineOptions struct {
	Dispatcher Dispatcher
	// Store is where results of known nodes go; nil: nowhere.
	Store ResultSaver
	// Observe sees every result but those of manual runs at once, before the
	// commit. It may be called from several goroutines.
	Observe func(Result)
	// Committed sees results after the commit.
	Committed func([]Result)
	// StoreFailed is told when results stop being saved, and nil when they are again.
	StoreFailed func(error)
	// Journal takes what probes find; Open are the events that were open when the
	// last process ended.
	Journal FindingJournal
	Open    []Event
	Log     hclog.Logger
	Self    NodeID
}

const (
	// reclaimGrace is how long after its deadline a job may stay away. The host
	// answers a hung plugin's jobs long before.
	reclaimGrace = 10 * time.Second
	// idleTick is the longest sleep of the scheduler: LastTick of the
	// statistics is never older while it is well.
	idleTick = 10 * time.Second
	// defaultTimeout is for runs by hand of probes that set none.
	defaultTimeout = 10 * time.Second
)

// Engine turns peers and probes into jobs, and carries their results to
// whoever needs them. All methods may be called concurrently.
type Engine struct {
	o       EngineOptions
	log     hclog.Logger
	wake    chan struct{}
	stopped chan struct{}
	saver   *saver
	view    view
	// findings on self's paths, details of them
	findings *findings
	details  *details

	mu       sync.Mutex // guards what follows
	schedule *schedule
	flights  map[uint64]*flight
	lastID   uint64
	lateness lateness
	counts   EngineStats
	peersSet bool
}

// NewEngine makes an engine without peers and probes. Run starts it.
func NewEngine(o EngineOptions) *Engine {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	now := time.Now()
	e := &Engine{
		o: o, log: o.Log,
		wake:     make(chan struct{}, 1),
		stopped:  make(chan struct{}),
		schedule: newSchedule(o.Self, now),
		flights:  map[uint64]*flight{},
		view:     newView(o.Self, now),
		findings: newFindings(o.Journal, o.Open),
		details:  newDetails(),
	}
	e.saver = newSaver(o.Store, o.Committed, o.StoreFailed, o.Log)
	e.counts.LastTick = now
	return e
}

// Run schedules until ctx ends; then it saves what has come in, within 5 s, and
// returns nil. It is called once.
func (e *Engine) Run(ctx context.Context) error {
	var work, save sync.WaitGroup
	save.Go(e.saver.run)
	work.Go(func() { e.runSchedule(ctx) })
	work.Go(func() { e.runIntake(ctx) })
	work.Wait()
	close(e.stopped)
	e.saver.close()
	save.Wait()
	return nil
}

// SetPeers makes full the set of peers to poll. Peers that stay keep their
// turn; new ones have their first run at once.
func (e *Engine) SetPeers(full []Peer) {
	e.mu.Lock()
	e.schedule.setPeers(time.Now(), full)
	e.peersSet = true
	e.trimLocked()
	e.mu.Unlock()
	e.rouse()
}

// SetProbes makes full the set of probes to run at every peer.
func (e *Engine) SetProbes(full []ProbeInfo) {
	e.mu.Lock()
	e.schedule.setProbes(time.Now(), full)
	e.trimLocked()
	e.mu.Unlock()
	e.rouse()
}

// trimLocked forgets the paths that are not measured any more. Before the peers are
// known, nobody can say which those are.
func (e *Engine) trimLocked() {
	keep := func(node NodeID, probe string) bool {
		_, peer := e.schedule.peers[peerKey{node: node}]
		return peer && e.schedule.probes[probe] != nil
	}
	e.view.trim(keep)
	e.details.trim(keep)
	if e.peersSet && len(e.schedule.probes) > 0 {
		e.findings.trim(keep)
	}
}

func (e *Engine) rouse() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Engine) runSchedule(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var jobs []Job
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-e.wake:
		}
		now := time.Now()
		jobs = e.tick(now, jobs[:0])
		for _, j := range jobs {
			if err := e.o.Dispatcher.Submit(j); err != nil {
				e.fail(j, ReasonPluginUnavailable, err.Error())
			}
		}
		e.reclaim(now)
		timer.Reset(e.sleep(time.Now()))
	}
}

// tick makes the jobs that are due and, if there are any, a few that soon will be.
func (e *Engine) tick(now time.Time, jobs []Job) []Job {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts.LastTick = now
	for {
		early := 0 < len(jobs) && len(jobs) < together
		turn, due := e.schedule.take(now, early)
		if turn == nil {
			return jobs
		}
		e.lateness.add(now, now.Sub(due))
		j := e.newJobLocked(turn.probe, turn.peer.Target, earlier(due, now))
		turn.job, j.Occasion = j.ID, turn.spend(now)
		f := e.flights[j.ID]
		f.entry, f.job = turn, j
		jobs = append(jobs, j)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (e *Engine) sleep(now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	until := idleTick
	if len(e.flights) > 0 {
		until = time.Second // a job may have to be reclaimed
	}
	if due, ok := e.schedule.next(); ok {
		until = min(until, due.Sub(now))
	}
	return max(until, 0)
}

// newJobLocked makes a job and registers its flight.
func (e *Engine) newJobLocked(probe *ProbeInfo, t Target, due time.Time) Job {
	e.lastID++
	j := Job{
		ID: e.lastID, Probe: probe.Name, Target: t, Due: due,
		Timeout: timeoutOf(probe), Identifies: probe.Identifies,
	}
	if !t.Node.IsZero() {
		j.PeerPort = t.Port
	}
	e.flights[j.ID] = &flight{job: j, deadline: due.Add(j.Timeout + reclaimGrace)}
	e.counts.Runs++
	return j
}

// timeoutOf leaves a fifth of the interval: a run is over before the next one.
func timeoutOf(p *ProbeInfo) time.Duration {
	longest := p.Interval / 5 * 4
	switch {
	case p.Timeout <= 0 && longest <= 0:
		return defaultTimeout
	case p.Timeout <= 0 || longest > 0 && longest < p.Timeout:
		return longest
	default:
		return p.Timeout
	}
}

// Dial runs the identifying probe at t at once, beside the schedule; the result
// goes to Observe. It returns ErrUnknownProbe when no probe identifies, or what
// the dispatcher said.
func (e *Engine) Dial(t Target, trig Trigger, fresh bool) error {
	e.mu.Lock()
	probe := e.identifierLocked()
	if probe == nil {
		e.mu.Unlock()
		return fmt.Errorf("dial %s: %w", t.Endpoint, ErrUnknownProbe)
	}
	j := e.newJobLocked(probe, t, time.Now())
	j.Trigger, j.Fresh = trig, fresh
	e.flights[j.ID].job = j
	e.mu.Unlock()
	e.rouse()
	if err := e.o.Dispatcher.Submit(j); err != nil {
		e.forget(j.ID)
		return fmt.Errorf("dial %s: %w", t.Endpoint, err)
	}
	return nil
}

// identifierLocked is the identifying probe; the first by name if there are several.
func (e *Engine) identifierLocked() *ProbeInfo {
	var found *ProbeInfo
	for _, p := range e.schedule.probes {
		if p.Identifies && (found == nil || p.Name < found.Name) {
			found = p
		}
	}
	return found
}

// Probe runs one probe by hand and returns its result, which is not stored.
// Errors: ErrUnknownProbe, ErrStopped, the dispatcher's, or that of ctx.
func (e *Engine) Probe(ctx context.Context, probe string, t Target) (Result, error) {
	e.mu.Lock()
	info, ok := e.schedule.probes[probe]
	if !ok {
		e.mu.Unlock()
		return Result{}, fmt.Errorf("probe %q: %w", probe, ErrUnknownProbe)
	}
	peer, known := e.schedule.peers[keyOf(t)]
	if known {
		t.Services = peer.Target.Services
	}
	j := e.newJobLocked(info, t, time.Now())
	if known {
		j.PeerPort = peer.Target.Port
	}
	j.Trigger = TriggerManual
	if end, ok := ctx.Deadline(); ok {
		j.Timeout = max(min(j.Timeout, time.Until(end)), time.Millisecond)
	}
	f := e.flights[j.ID]
	f.job, f.waiter = j, make(chan Result, 1)
	e.mu.Unlock()
	e.rouse()
	if err := e.o.Dispatcher.Submit(j); err != nil {
		e.forget(j.ID)
		return Result{}, fmt.Errorf("probe %q: %w", probe, err)
	}
	select {
	case r := <-f.waiter:
		return r, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	case <-e.stopped:
		return Result{}, ErrStopped
	}
}

// Waiting is what a probe found at a node and the store does not take, oldest
// first. It is nil while the store is well.
func (e *Engine) Waiting(node NodeID, probe string) []Result { return e.saver.waiting(node, probe) }

// View is what self has measured lately: the latest result of every probe at
// every known node, sorted. The version moves when an outcome or reason changes
// or a figure is new, else at most every 30 s, and every ViewHold when hardly a
// figure changes. The slice is shared: do not modify it.
func (e *Engine) View() (paths []PathStatus, version uint64) { return e.view.get() }
