package plugins

import (
	"sync"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

const (
	defaultCredit = 64   // jobs that a plugin takes at once when it does not say
	maxCredit     = 4096 // jobs that a plugin may ask for at once
	slotBits      = 16   // of a wire id; the rest is a generation
	slotMask      = 1<<slotBits - 1
	// reservedPart of the slots is for the identifying probe, where there is one:
	// whatever the others wait for, whether a peer is alive is found out at once.
	reservedPart = 4
)

// flight is a job that has no result yet.
type flight struct {
	job      core.Job
	deadline time.Time
	sent     time.Time
	id       uint64 // on the wire; 0: the slot is free
}

// verdict is what became of an offer to a stream.
type verdict uint8

const (
	accepted  verdict = iota
	queueFull         // too many are waiting
	closing           // the stream takes no more
)

// stream holds the jobs of one process: bounded lines, then slots for the
// jobs that the plugin has in hand. It does no I/O; process pumps it.
type stream struct {
	queueLimit int
	grace      time.Duration
	wake       chan struct{} // the sender has something to do
	alarm      chan struct{} // an earlier deadline than the armed one
	idle       chan struct{} // closed when draining and nothing is left

	credit int // jobs that the plugin takes at a time

	mu        sync.Mutex // guards below
	polls     line       // of the identifying probe; they go first
	queue     line       // all others
	others    int        // slots that those have
	reserved  int        // slots that they may not have
	slots     []flight   // as many as were ever needed, up to credit
	free      []uint16   // of them
	gen       uint64
	abandoned map[uint64]struct{} // answered for the plugin, its own answer outstanding
	cancel    []uint64
	beat      uint64 // heartbeat to send; 0: none
	armed     time.Time
	// trusted are the instances that may have the keys of services.
	trusted  map[string]bool
	draining bool
	closed   bool
}

func newStream(credit, queueLimit int, grace time.Duration) *stream {
	if credit <= 0 {
		credit = defaultCredit
	}
	return &stream{
		queueLimit: queueLimit, grace: grace, credit: min(credit, maxCredit),
		wake: make(chan struct{}, 1), alarm: make(chan struct{}, 1), idle: make(chan struct{}),
		abandoned: make(map[uint64]struct{}), trusted: make(map[string]bool),
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// offer queues a job whose timeout counts from now.
func (s *stream) offer(j core.Job, now time.Time) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining || s.closed:
		return closing
	case s.lineLocked(j.Identifies).len() >= s.queueLimit:
		return queueFull
	}
	deadline := now.Add(j.Timeout)
	if j.Identifies {
		s.reserved = s.credit / reservedPart
	}
	s.lineLocked(j.Identifies).push(flight{job: j, deadline: deadline})
	if s.readyLocked() > 0 {
		signal(s.wake)
	}
	if s.armed.IsZero() || deadline.Before(s.armed) {
		s.armed = deadline
		signal(s.alarm)
	}
	return accepted
}

// take fills the next message from what waits, without waiting itself; nil when
// there is nothing to send.
func (s *stream) take(now time.Time) *pluginv1.JobBatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(sdk.MaxBatch, s.readyLocked())
	if s.closed || n == 0 && s.beat == 0 && len(s.cancel) == 0 {
		return nil
	}
	batch := &pluginv1.JobBatch{Heartbeat: s.beat, Cancel: s.cancel}
	s.beat, s.cancel = 0, nil
	if n > 0 {
		batch.Jobs = s.launchLocked(n, now)
	}
	return batch
}

func (s *stream) launchLocked(n int, now time.Time) []*pluginv1.Job {
	slab := newJobSlab(n)
	for range n {
		f := s.lineLocked(s.polls.len() > 0).pop()
		slot := s.slotLocked()
		s.gen++
		f.id, f.sent = s.gen<<slotBits|uint64(slot), now
		slab.add(f.id, &f.job, max(f.deadline.Sub(now), 0), s.trusted[f.job.Probe])
		s.slots[slot] = f
		if !f.job.Identifies {
			s.others++
		}
	}
	return slab.jobs
}

// slotLocked is a free one; the caller has made sure that there is one.
func (s *stream) slotLocked() uint16 {
	if last := len(s.free) - 1; last >= 0 {
		slot := s.free[last]
		s.free = s.free[:last]
		return slot
	}
	s.slots = append(s.slots, flight{})
	return uint16(len(s.slots) - 1) //nolint:gosec // maxCredit fits
}

func (s *stream) lineLocked(identifies bool) *line {
	if identifies {
		return &s.polls
	}
	return &s.queue
}

// readyLocked is how many jobs may be sent now.
func (s *stream) readyLocked() int {
	credit := s.creditLocked()
	polls := min(s.polls.len(), credit)
	room := s.credit - s.reserved - s.others - len(s.abandoned)
	return polls + max(min(s.queue.len(), credit-polls, room), 0)
}

// settle takes the flights that a message answers, in its order; a flight with
// id 0 stands for an answer that nobody waits for (late, repeated or invented).
func (s *stream) settle(results []answer, into []flight) []flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range results {
		id := results[i].id
		delete(s.abandoned, id)
		slot := int(id & slotMask)
		if id == 0 || slot >= len(s.slots) || s.slots[slot].id != id {
			into = append(into, flight{})
			continue
		}
		into = append(into, s.slots[slot])
		s.freeLocked(slot)
	}
	s.settledLocked()
	return into
}

func (s *stream) freeLocked(slot int) {
	if !s.slots[slot].job.Identifies {
		s.others--
	}
	s.slots[slot] = flight{}
	s.free = append(s.free, uint16(slot))
}

func (s *stream) settledLocked() {
	if s.readyLocked() > 0 {
		signal(s.wake)
	}
	if s.draining && !s.closed && s.unansweredLocked() == 0 {
		s.closed = true
		close(s.idle)
	}
}

// creditLocked is how many places the plugin has: runs that the host gave up are
// still the plugin's burden.
func (s *stream) creditLocked() int {
	return max(s.credit-s.inFlightLocked()-len(s.abandoned), 0)
}

func (s *stream) inFlightLocked() int { return len(s.slots) - len(s.free) }

func (s *stream) unansweredLocked() int {
	return s.polls.len() + s.queue.len() + s.inFlightLocked()
}

// expire takes the flights whose time is over: hung ones are cancelled at the
// plugin, late ones never left the queue. next is when to look again, zero when
// no job is there; frozen tells that the plugin answers none of its slots.
func (s *stream) expire(now time.Time) (hung, late []flight, next time.Time, frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	earliest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	inTime := func(f *flight) bool {
		if !now.Before(f.deadline) {
			late = append(late, *f)
			return false
		}
		earliest(f.deadline)
		return true
	}
	s.polls.filter(inTime)
	s.queue.filter(inTime)
	for slot := range s.slots {
		f := &s.slots[slot]
		if f.id == 0 {
			continue
		}
		if now.Before(f.deadline) {
			earliest(f.deadline) // without the grace: later jobs then arm nothing
			continue
		}
		if end := f.deadline.Add(s.grace); now.Before(end) {
			earliest(end)
			continue
		}
		hung = append(hung, *f)
		s.cancel = append(s.cancel, f.id)
		s.abandoned[f.id] = struct{}{}
		s.freeLocked(slot)
	}
	s.armed = next
	if len(hung) > 0 {
		signal(s.wake)
	}
	s.settledLocked()
	return hung, late, next, len(s.abandoned) >= s.credit
}

// trust says whether an instance may have the keys of services.
func (s *stream) trust(instance string, may bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if may {
		s.trusted[instance] = true
	} else {
		delete(s.trusted, instance)
	}
}

// heartbeat asks the sender to send number n.
func (s *stream) heartbeat(n uint64) {
	s.mu.Lock()
	s.beat = n
	s.mu.Unlock()
	signal(s.wake)
}

// drain refuses further jobs; idle is closed when those there are answered.
func (s *stream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.settledLocked()
}

// latest is the last deadline of a job without an answer; zero without such jobs.
func (s *stream) latest() (last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range [][]flight{s.polls.all(), s.queue.all(), s.slots} {
		for i := range list {
			if list[i].deadline.After(last) {
				last = list[i].deadline
			}
		}
	}
	return last
}

// close takes all flights that have no answer: sent ones and those still queued.
func (s *stream) close() (sent, queued []flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot := range s.slots {
		if s.slots[slot].id != 0 {
			sent = append(sent, s.slots[slot])
		}
	}
	queued = append(s.polls.all(), s.queue.all()...)
	s.polls, s.queue = line{}, line{}
	s.slots, s.free = nil, nil
	if !s.closed {
		s.closed = true
		close(s.idle)
	}
	return sent, queued
}

// load is how many jobs the plugin has in hand, and how many wait.
func (s *stream) load() (inFlight, queued int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlightLocked(), s.polls.len() + s.queue.len()
}
