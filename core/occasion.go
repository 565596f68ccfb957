package core

import (
	"container/heap"
	"slices"
	"time"
)

// Occasion is when a probe may want to run beside its interval.
type Occasion string

// The occasions, the same words as the SDK's.
const (
	OccasionFirstContact Occasion = "first_contact" // the first run at a new peer
	OccasionServices     Occasion = "services"      // self was told of services of the peer
	OccasionFailure      Occasion = "failure"       // the identifying probe failed, here or at the peer
	OccasionRecovery     Occasion = "recovery"      // and succeeds again
	OccasionHint         Occasion = "hint"          // another probe met something
)

// Occasions is the whole vocabulary.
func Occasions() []Occasion {
	return []Occasion{OccasionFirstContact, OccasionServices, OccasionFailure, OccasionRecovery, OccasionHint}
}

const (
	// doubtPause is how soon a run follows that is to confirm another one.
	doubtPause = 5 * time.Second
	// occasionPause is the least time between two runs of a probe at a peer on
	// occasions, and between two to confirm others: a path that flaps is not worth
	// more than its interval and this.
	occasionPause = time.Minute
	// stillRunning is when a run on an occasion is tried again that found the one
	// before it under way. It is over maxLead: the same run must not be early again.
	stillRunning = 2 * maxLead
)

func (p *ProbeInfo) wants(o Occasion) bool { return !p.Identifies && slices.Contains(p.Occasions, o) }

// meet tells the first runs at a new peer what they are.
func (p *scheduledPeer) meet() {
	for _, e := range p.entries {
		if e.probe.wants(OccasionFirstContact) {
			e.occasion = OccasionFirstContact
		}
	}
}

// occur brings the runs at p forward that are wanted on an occasion. A first run
// that is still to come stays what it is: nothing is known that could have changed.
func (s *schedule) occur(now time.Time, p *scheduledPeer, o Occasion) {
	for _, e := range p.entries {
		s.bring(now, e, o)
	}
}

func (s *schedule) bring(now time.Time, e *entry, o Occasion) {
	if e.last.IsZero() || !e.probe.wants(o) {
		return
	}
	e.occasion = o
	e.forward(now)
	heap.Fix(&s.queue, e.index)
}

// forward makes a run on an occasion due at once, or a pause after the last one,
// and keeps one that is to confirm another.
func (e *entry) forward(now time.Time) {
	if e.confirmed.After(now) {
		e.due = earlier(e.due, e.confirmed)
	}
	if e.occasion == "" {
		return
	}
	at := now
	if next := e.occurred.Add(occasionPause); next.After(now) {
		at = next
	}
	e.due = earlier(e.due, at)
}

// spend takes the occasion of the run that is made now. A first contact does not
// count against what comes after it.
func (e *entry) spend(now time.Time) Occasion {
	o := e.occasion
	if e.occasion = ""; o != "" && o != OccasionFirstContact {
		e.occurred = now
	}
	return o
}

// occasionsOf notes what a run of the identifying probe says of a path: that it
// fails now, in either direction, or does not any more. r is the latest word on it.
func (e *Engine) occasionsOf(r Result) {
	if !r.Job.Identifies || !r.AboutTarget() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p, ok := e.schedule.peers[keyOf(r.Job.Target)]
	if first := e.identifierLocked(); !ok || first == nil || first.Name != r.Job.Probe {
		return
	}
	failed, accused := r.Outcome == OutcomeFailure, p.accused
	if r.Learned != nil && len(r.Learned.View) > 0 {
		accused = e.accuses(r)
	}
	began := failed && !p.failed || accused && !p.accused
	over := (p.failed || p.accused) && !failed && !accused
	p.failed, p.accused = failed, accused
	switch now := time.Now(); {
	case began:
		e.schedule.occur(now, p, OccasionFailure)
	case over:
		e.schedule.occur(now, p, OccasionRecovery)
	default:
		return
	}
	e.rouse()
}

// hint passes on what a run met to the other probes at its peer. It waits behind
// what is to come already.
func (e *Engine) hint(r Result) {
	if r.Hint == "" || !r.AboutTarget() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if p, ok := e.schedule.peers[keyOf(r.Job.Target)]; ok {
		e.schedule.hint(time.Now(), p, r.Job.Probe)
		e.rouse()
	}
}

// hint is occur of a hint that the probe from gives.
func (s *schedule) hint(now time.Time, p *scheduledPeer, from string) {
	for _, e := range p.entries {
		if e.probe.Name != from && e.occasion == "" {
			s.bring(now, e, OccasionHint)
		}
	}
}

// askAgain has the run repeated soon.
func (e *Engine) askAgain(r Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, ok := e.schedule.peers[keyOf(r.Job.Target)]
	if !ok || p.entries[r.Job.Probe] == nil {
		return
	}
	e.schedule.confirm(time.Now(), p.entries[r.Job.Probe])
	e.rouse()
}

// confirm makes the next run due soon, unless that is so already.
func (s *schedule) confirm(now time.Time, e *entry) {
	at := now.Add(doubtPause)
	if next := e.confirmed.Add(occasionPause); next.After(at) {
		at = next
	}
	if at.Before(e.due) {
		e.due, e.confirmed = at, at
		heap.Fix(&s.queue, e.index)
	}
}

// accuses tells that a peer says it does not reach self.
func (e *Engine) accuses(r Result) bool {
	return slices.ContainsFunc(r.Learned.View, func(c PathStatus) bool {
		return c.Destination == e.o.Self && c.Probe == r.Job.Probe && c.Outcome == OutcomeFailure
	})
}
