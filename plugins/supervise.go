package plugins

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

// supervisor keeps one plugin serving. Its run is the only place that starts,
// buries and replaces its process.
type supervisor struct {
	host    *Host
	name    string
	log     hclog.Logger
	counts  *counts
	current atomic.Pointer[process] // serving; nil otherwise
	wake    chan struct{}           // an operator wants it now
	ctx     context.Context         // ends when the plugin is to go
	retire  context.CancelFunc

	mu       sync.Mutex // guards below
	spec     *Spec
	version  int // of spec
	state    core.PluginState
	problem  string
	ails     string      // what the running process says of itself
	about    Description // of the last process that told
	refused  map[string]string
	restarts int // processes that served after the first
	failures int // starts and processes that ended, in a row
	crashes  []time.Time
	wait     time.Duration // before the next start
	started  time.Time     // of the last process that served
}

// counts of a plugin since the host started.
type counts struct {
	jobs    [core.OutcomePluginError + 1]atomic.Uint64
	dropped atomic.Uint64 // bytes of stderr
}

// newSupervisor makes the successor of old, which may be nil.
func newSupervisor(h *Host, spec *Spec, old *supervisor) *supervisor {
	s := &supervisor{
		host: h, name: spec.Name, log: h.Log.With("plugin", spec.Name), spec: spec,
		state: core.PluginStarting, wake: make(chan struct{}, 1), counts: new(counts),
	}
	if old != nil {
		s.counts = old.counts // old counts on while it drains
	}
	s.ctx, s.retire = context.WithCancel(h.ctx)
	return s
}

// run keeps a process serving until the plugin is to go. p is the process that
// Apply started, or nil.
func (s *supervisor) run(p *process) {
	for s.ctx.Err() == nil {
		if p == nil {
			if s.pause() {
				p = s.start()
			}
			continue
		}
		select {
		case <-p.done:
			s.bury(p)
			p = nil
		case <-s.ctx.Done():
		}
	}
	if p != nil {
		s.drain(p)
	}
	s.set(core.PluginStopped, "")
}

// pause waits for the time of the next start, or for an operator when the
// plugin is disabled.
func (s *supervisor) pause() (ok bool) {
	s.mu.Lock()
	wait, disabled := s.wait, s.state == core.PluginDisabled
	s.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	due := timer.C
	if disabled {
		due = nil
	}
	select {
	case <-due:
	case <-s.wake:
	case <-s.ctx.Done():
		return false
	}
	return true
}

func (s *supervisor) start() *process {
	s.mu.Lock()
	spec, version := s.spec, s.version
	s.mu.Unlock()
	s.set(core.PluginStarting, s.currentProblem())
	p, refused, err := s.bring(s.ctx, spec)
	if err != nil {
		s.failed(err.problem, err.ran)
		return nil
	}
	s.adopt(p, version, refused)
	return p
}

// bring starts a process and configures it. On error nothing is left running.
func (s *supervisor) bring(ctx context.Context, spec *Spec) (*process, ConfigErrors, *startError) {
	h := s.host
	p, err := startProcess(ctx, launch{
		spec: spec, spawner: h.spawner, runDir: h.runDir, log: s.log, dropped: &s.counts.dropped, tunables: &h.Tunables,
		answer: s.answer, ailing: s.ailing,
	})
	if err != nil {
		return nil, nil, asStart(err)
	}
	refused, err := configureAll(ctx, p, spec.instances(), h.granted(spec), h.Node)
	if err != nil {
		p.fail("did not take its configuration: " + firstLine(err))
		return nil, nil, &startError{problem: p.bury(), ran: true, cause: err}
	}
	return p, refused, nil
}

func asStart(err error) *startError {
	if s, ok := isStart(err); ok {
		return s
	}
	return &startError{problem: firstLine(err), cause: err}
}

func configureAll(ctx context.Context, p *process, list []instance, grants map[string][]byte, node NodeInfo) (ConfigErrors, error) {
	var all ConfigErrors
	for _, in := range list {
		refused, err := p.configure(ctx, in, grants, node)
		if err != nil {
			return all, err
		}
		all = append(all, refused...)
	}
	return all, nil
}

// adopt puts p into service. version is that of the spec it was made from.
func (s *supervisor) adopt(p *process, version int, refused ConfigErrors) {
	s.mu.Lock()
	stale := version != s.version
	if !s.started.IsZero() {
		s.restarts++
	}
	s.state, s.problem, s.ails = core.PluginRunning, "", ""
	s.about, s.started = p.about, p.started
	s.refuseLocked(refused)
	s.current.Store(p) // under the lock: replaceSpec must see it or be seen
	s.mu.Unlock()
	if stale {
		p.fail(causeStale)
	}
	for _, e := range refused {
		s.log.Error("plugin refused configuration", "setting", e.Path, "problem", e.Message)
	}
	s.log.Info("plugin serves", "version", p.about.Version, "pid", p.child.PID())
	s.host.Changed()
}

// ailing takes down what a running process says of its health.
func (s *supervisor) ailing(p *process, problem string) {
	s.mu.Lock()
	current := s.current.Load() == p
	if current {
		s.ails = problem
	}
	s.mu.Unlock()
	switch {
	case !current:
		return
	case problem == "":
		s.log.Info("plugin is well again")
	default:
		s.log.Warn("plugin is not well", "problem", problem)
	}
	s.host.Changed()
}

// problemLocked is what is wrong, in words that follow the plugin's name.
func (s *supervisor) problemLocked() string {
	if s.problem == "" && s.ails != "" && s.state == core.PluginRunning {
		return core.CleanText("is not well: "+s.ails, maxMessageText)
	}
	return s.problem
}

// refuseLocked marks the instances that the plugin did not take.
func (s *supervisor) refuseLocked(refused ConfigErrors) {
	s.refused = make(map[string]string)
	for _, e := range refused {
		for _, in := range s.spec.instances() {
			if within(e.Path, in.section+"."+in.name) {
				s.refused[in.section+"."+in.name] = e.Error()
			}
		}
	}
	if len(refused) > 0 {
		s.problem = core.CleanText("refused its configuration: "+refused[0].Error(), maxMessageText)
	}
}

func within(path, prefix string) bool {
	return len(path) > len(prefix) && path[:len(prefix)] == prefix && path[len(prefix)] == '.'
}

// bury takes p out of service and finds out why it ended.
func (s *supervisor) bury(p *process) {
	s.current.CompareAndSwap(p, nil)
	lived := time.Since(p.started)
	problem := p.bury()
	crash := p.cause != causeStale
	if lived > s.host.BackoffMax {
		s.mu.Lock()
		s.failures = 0
		s.mu.Unlock()
	}
	s.failed(problem, crash)
}

// causeStale ends a process that started with settings replaced meanwhile.
const causeStale = "is started again with its new configuration"

// failed decides when, and whether, to start again. Only a process that came to
// life can crash: a missing file costs nothing to look for.
func (s *supervisor) failed(problem string, crash bool) {
	if s.ctx.Err() != nil {
		return
	}
	o := &s.host.Tunables
	s.mu.Lock()
	s.failures++
	if now := time.Now(); crash {
		s.crashes = append(slices.DeleteFunc(s.crashes, func(t time.Time) bool { return now.Sub(t) > o.CrashWindow }), now)
	}
	select {
	case <-s.wake: // asked for the start that has failed just now
	default:
	}
	news := s.problem != problem
	s.state, s.problem, s.wait = core.PluginBackoff, problem, backoff(s.failures, o)
	switch often := len(s.crashes) >= o.CrashLimit; {
	case often && s.spec.Builtin:
		// Without it the node is blind, and nobody may be there to enable it: it goes on,
		// as often as may be.
		s.wait = max(s.wait, o.CrashWindow/time.Duration(o.CrashLimit))
	case often:
		s.state = core.PluginDisabled
		s.problem = core.CleanText(fmt.Sprintf("disabled after %d crashes within %v: %s", len(s.crashes), o.CrashWindow, problem), maxMessageText)
	}
	record := s.recordLocked()
	s.mu.Unlock()
	s.tell(record, news)
	s.host.Changed()
}

func (s *supervisor) recordLocked() core.PluginRecord {
	return core.PluginRecord{
		Name: s.name, Disabled: s.state == core.PluginDisabled, Problem: s.problem, Restarts: s.restarts, Changed: time.Now(),
	}
}

// tell logs a failure of another cause than the last one, and the end of all
// attempts; repeats are debug.
func (s *supervisor) tell(r core.PluginRecord, news bool) {
	switch {
	case r.Disabled:
		s.log.Error("plugin disabled", "problem", r.Problem)
		s.host.save(r)
	case news:
		s.log.Warn("plugin does not serve", "problem", r.Problem)
	default:
		s.log.Debug("plugin does not serve", "problem", r.Problem, "restarts", r.Restarts)
	}
}

// backoff is BackoffMin * 2^(failures-1), at most BackoffMax, less up to half
// of it by chance, so that plugins broken by one cause do not start in step.
func backoff(failures int, o *Tunables) time.Duration {
	d := o.BackoffMin
	for i := 1; i < failures && d < o.BackoffMax; i++ {
		d *= 2
	}
	d = min(d, o.BackoffMax)
	return d - rand.N(d/2+1)
}

// drain lets the runs in flight end, then the process. When the host itself
// ends there is no time for that.
func (s *supervisor) drain(p *process) {
	p.stream.drain()
	timer := time.NewTimer(max(s.host.DrainTimeout, time.Until(p.stream.latest())+s.host.JobGrace))
	defer timer.Stop()
	select {
	case <-p.stream.idle:
	case <-p.done:
	case <-timer.C:
	case <-s.host.ctx.Done():
	}
	p.stop()
	s.current.CompareAndSwap(p, nil)
}

// enable forgets the crashes and asks for a start now: from here on the plugin is
// starting, until it serves or has failed again.
func (s *supervisor) enable() {
	s.mu.Lock()
	s.crashes, s.failures = nil, 0
	was := s.state
	if was == core.PluginDisabled || was == core.PluginBackoff {
		s.state, s.wait = core.PluginStarting, 0
		signal(s.wake) // under the lock: not for a pause after this one
	}
	record := s.recordLocked()
	s.mu.Unlock()
	if was == core.PluginDisabled {
		s.host.save(record)
		s.host.Changed()
	}
}

func (s *supervisor) set(state core.PluginState, problem string) {
	s.mu.Lock()
	s.state, s.problem = state, problem
	s.mu.Unlock()
	s.host.Changed()
}

func (s *supervisor) currentProblem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}
