package core

import (
	"context"
	"time"
)

// flight is a job that was submitted and has no result yet.
type flight struct {
	job      Job
	entry    *entry // nil for runs beside the schedule
	deadline time.Time
	waiter   chan Result // nil but for manual runs; holds one
}

// runIntake carries results until ctx ends, then what is already there.
func (e *Engine) runIntake(ctx context.Context) {
	results := e.o.Dispatcher.Results()
	for {
		select {
		case <-ctx.Done():
			e.drain(results)
			return
		case rs, ok := <-results:
			if !ok {
				results = nil
				continue
			}
			e.land(rs)
		}
	}
}

func (e *Engine) drain(results <-chan []Result) {
	for {
		select {
		case rs, ok := <-results:
			if !ok {
				return
			}
			e.land(rs)
		default:
			return
		}
	}
}

// land ends the flights of the results and passes them on.
func (e *Engine) land(rs []Result) {
	keep := make([]Result, 0, len(rs))
	for _, r := range rs {
		f := e.forget(r.Job.ID)
		if f == nil {
			continue
		}
		e.count(RunKind{f.job.Probe, r.Outcome})
		r.Job = f.job
		r.Job.Target.Services = nil // their keys are for the plugin alone
		if f.waiter != nil {
			f.waiter <- r
			continue
		}
		if r, ok := e.accept(r); ok {
			keep = append(keep, r)
		}
	}
	e.saver.add(keep)
}

func (e *Engine) count(k RunKind) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.counts.Outcomes == nil {
		e.counts.Outcomes = map[RunKind]uint64{}
	}
	e.counts.Outcomes[k]++
}

// forget takes a job out of flight; nil when it was not, as for the late result
// of a reclaimed job.
func (e *Engine) forget(id uint64) *flight {
	e.mu.Lock()
	defer e.mu.Unlock()
	f, ok := e.flights[id]
	if !ok {
		e.counts.Stray++
		return nil
	}
	delete(e.flights, id)
	if f.entry != nil && f.entry.job == id {
		f.entry.job = 0
	}
	return f
}

// accept shows r to the observer and gives what is to be kept of it; false for
// results that are about no known node.
func (e *Engine) accept(r Result) (Result, bool) {
	if e.o.Observe != nil {
		e.o.Observe(r)
	}
	if r.Job.Target.Node.IsZero() {
		return r, false
	}
	r = aboutPath(r)
	if e.current(r) {
		e.view.put(time.Now(), r)
		e.details.put(r)
		if e.findings.take(time.Now(), r) {
			e.askAgain(r)
		}
		e.hint(r)
		e.occasionsOf(r)
	}
	return r, true
}

// current tells that r is the latest word on a path: a miss at another of the
// peer's endpoints is not.
func (e *Engine) current(r Result) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, ok := e.schedule.peers[keyOf(r.Job.Target)]
	if !ok || r.Outcome != OutcomeSuccess && p.Target.Endpoint != r.Job.Target.Endpoint {
		return false
	}
	_, ok = p.entries[r.Job.Probe]
	return ok
}

// aboutPath turns what a run learned into what the path to its target says. An
// answer given by another node is not the target's: the path failed, and what
// the other one told is not kept. A node speaks only for paths from itself.
func aboutPath(r Result) Result {
	if r.Learned == nil {
		return r
	}
	who := r.Learned.Identity
	if who != nil && !answers(r.Job.Target, *who) {
		r.Learned, r.Findings, r.Documents, r.Hint = nil, nil, nil, ""
		if r.Outcome == OutcomeSuccess {
			r.Outcome, r.Reason = OutcomeFailure, ReasonIdentity
			r.Message = CleanText("another node answered: "+who.ID.String(), 256)
			r.RTT = 0
		}
		return r
	}
	kept := *r.Learned
	kept.Peers = nil // hearsay is not history
	if who != nil {
		known := *who
		known.Services = nil
		kept.Identity = &known
	}
	kept.View = append([]PathStatus(nil), kept.View...)
	for i := range kept.View {
		kept.View[i].Source = r.Job.Target.Node
	}
	r.Learned = &kept
	return r
}

// answers tells that who is the node that t aims at: the key decides, and the
// id where no key is pinned.
func answers(t Target, who Identity) bool {
	if !t.Key.IsZero() && !who.Key.IsZero() {
		return t.Key == who.Key
	}
	return who.ID.IsZero() || who.ID == t.Node
}

// reclaim ends the flights whose result never came: a fault of the dispatcher
// must not stop an entry for ever.
func (e *Engine) reclaim(now time.Time) {
	var lost []Job
	e.mu.Lock()
	for _, f := range e.flights {
		if now.After(f.deadline) {
			lost = append(lost, f.job)
		}
	}
	e.counts.Lost += uint64(len(lost))
	e.mu.Unlock()
	for _, j := range lost {
		e.log.Error("job got no result", "probe", j.Probe, "target", j.Target.Endpoint.String())
		e.fail(j, ReasonPluginHung, "no result came back")
	}
}

// fail gives a job the result that its plugin did not give.
func (e *Engine) fail(j Job, why Reason, message string) {
	e.land([]Result{{
		Job: j, Outcome: OutcomePluginError, Reason: why,
		Message: CleanText(message, 256), Took: time.Since(j.Due),
	}})
}
