package core

import (
	"container/heap"
	"slices"
	"time"
)

// Peer is what the engine polls: a target and its pace.
type Peer struct {
	Target Target
	// Pace is the least interval between runs of a peer that does not answer;
	// 0 means the probe's own. It is rounded up to whole intervals.
	Pace time.Duration
}

// firstRunSpread separates the first runs of new entries, so that a node that
// knows a thousand peers does not open all connections at once after a restart.
const firstRunSpread = time.Millisecond

// A run may be up to a twentieth of its interval early, half of what the jitter
// is, when another one is due: to wake up this process and the plugin's costs
// more than a job: at 100 peers and 30 s, six runs share that. Over some seconds
// the runs stay evenly spread.
const (
	leadPart = 20
	maxLead  = 1500 * time.Millisecond
	// together is up to how many jobs such runs are added: they share the cost of
	// waking up, and do not wait long for one another's handshakes.
	together = 8
)

// peerKey names a peer for the schedule: its id, or where it is while that is
// not known.
type peerKey struct {
	node NodeID
	at   Endpoint
}

func keyOf(t Target) peerKey {
	if !t.Node.IsZero() {
		return peerKey{node: t.Node}
	}
	return peerKey{at: t.Endpoint}
}

// entry is one probe at one peer: what waits in the queue.
type entry struct {
	probe  *ProbeInfo
	peer   *scheduledPeer
	rhythm rhythm
	due    time.Time
	// last is when the last run was due; zero before the first.
	last time.Time
	// job is in flight; 0 when none is.
	job   uint64
	index int
	// occasion of the next run, or empty; the last one had its run at occurred.
	occasion Occasion
	occurred time.Time
	// confirmed is when a run was to confirm another one.
	confirmed time.Time
}

type scheduledPeer struct {
	Peer
	entries map[string]*entry // by probe
	// failed tells that the identifying probe failed last, accused that the peer
	// said so of its own.
	failed, accused bool
}

// schedule knows whose turn is next. It is not safe for concurrent use; time
// comes from its caller.
type schedule struct {
	self NodeID
	// anchor ties absolute time to the monotonic clock: a step of the wall
	// clock must neither bunch the runs nor stop them.
	anchor  time.Time
	peers   map[peerKey]*scheduledPeer
	probes  map[string]*ProbeInfo
	queue   queue
	skipped uint64
}

func newSchedule(self NodeID, now time.Time) *schedule {
	return &schedule{
		self: self, anchor: now,
		peers: map[peerKey]*scheduledPeer{}, probes: map[string]*ProbeInfo{},
	}
}

// setPeers makes full the set of peers. Entries of peers that stay keep their turn.
func (s *schedule) setPeers(now time.Time, full []Peer) {
	keep := make(map[peerKey]bool, len(full))
	var fresh []*entry
	for _, p := range full {
		key := keyOf(p.Target)
		keep[key] = true
		known, ok := s.peers[key]
		if !ok {
			known = &scheduledPeer{Peer: p, entries: map[string]*entry{}}
			s.peers[key] = known
			for _, info := range s.probes {
				fresh = append(fresh, s.entryFor(known, key, info)...)
			}
			known.meet()
			continue
		}
		repace := known.Pace != p.Pace
		told := len(p.Target.Services) > 0 && !slices.Equal(known.Target.Services, p.Target.Services)
		known.Peer = p
		if told {
			s.occur(now, known, OccasionServices)
		}
		if repace {
			s.repace(now, known)
		}
	}
	for key, p := range s.peers {
		if !keep[key] {
			s.drop(p)
			delete(s.peers, key)
		}
	}
	s.begin(now, fresh)
}

// setProbes makes full the set of probes. A probe without an interval is only
// run by hand.
func (s *schedule) setProbes(now time.Time, full []ProbeInfo) {
	keep := make(map[string]bool, len(full))
	var fresh []*entry
	for _, info := range full {
		keep[info.Name] = true
		known, ok := s.probes[info.Name]
		if ok && known.Interval == info.Interval {
			*known = info
			continue
		}
		s.dropProbe(info.Name)
		known = &info
		s.probes[info.Name] = known
		for key, p := range s.peers {
			fresh = append(fresh, s.entryFor(p, key, known)...)
		}
	}
	for name := range s.probes {
		if !keep[name] {
			s.dropProbe(name)
			delete(s.probes, name)
		}
	}
	s.begin(now, fresh)
}

func (s *schedule) entryFor(p *scheduledPeer, key peerKey, info *ProbeInfo) []*entry {
	if info.Interval <= 0 {
		return nil
	}
	e := &entry{probe: info, peer: p, rhythm: newRhythm(s.self, info.Name, key, info.Interval)}
	p.entries[info.Name] = e
	return []*entry{e}
}

// begin gives new entries their first run at once, in the order of their hashes.
func (s *schedule) begin(now time.Time, fresh []*entry) {
	window := time.Duration(len(fresh)) * firstRunSpread
	for _, e := range fresh {
		e.due = now.Add(time.Duration(e.rhythm.hash % uint64(window)))
		heap.Push(&s.queue, e)
	}
}

func (s *schedule) drop(p *scheduledPeer) {
	for _, e := range p.entries {
		heap.Remove(&s.queue, e.index)
	}
}

func (s *schedule) dropProbe(name string) {
	for _, p := range s.peers {
		if e, ok := p.entries[name]; ok {
			heap.Remove(&s.queue, e.index)
			delete(p.entries, name)
		}
	}
}

// repace moves the turns of a peer whose pace changed. First runs stay.
func (s *schedule) repace(now time.Time, p *scheduledPeer) {
	for _, e := range p.entries {
		if e.last.IsZero() {
			continue
		}
		s.advance(now, e)
		e.forward(now)
		heap.Fix(&s.queue, e.index)
	}
}

// next is when the first entry is due; false when there is none.
func (s *schedule) next() (time.Time, bool) {
	if len(s.queue) == 0 {
		return time.Time{}, false
	}
	return s.queue[0].due, true
}

// take gives the entry whose turn has come, with the time that it was due, and
// sets its next turn. An entry whose last job is still running is skipped and
// counted, never queued. It gives nil when nobody is due; early asks for an
// entry whose turn comes soon, too.
func (s *schedule) take(now time.Time, early bool) (*entry, time.Time) {
	for len(s.queue) > 0 {
		e := s.queue[0]
		wait := e.due.Sub(now)
		if wait > 0 && !(early && wait <= e.lead()) {
			break
		}
		due := e.due
		e.last = due
		s.advance(now, e)
		heap.Fix(&s.queue, 0)
		if e.job == 0 {
			return e, due
		}
		if e.occasion != "" {
			e.due = earlier(e.due, now.Add(stillRunning))
			heap.Fix(&s.queue, e.index)
			continue
		}
		s.skipped++
	}
	return nil, time.Time{}
}

// advance sets the turn after the last one. Turns that have passed meanwhile,
// as after a suspended machine, are not made up for.
func (s *schedule) advance(now time.Time, e *entry) {
	steps := max(1, int64((e.peer.Pace+e.probe.Interval-1)/e.probe.Interval))
	slot := e.rhythm.after(s.nanos(e.last), steps)
	if e.rhythm.due(slot) <= s.nanos(now) {
		slot = max(slot, e.rhythm.slotAt(s.nanos(now)+e.rhythm.interval/10))
	}
	e.due = s.anchor.Add(time.Duration(e.rhythm.due(slot) - s.anchor.UnixNano()))
}

// lead is how much earlier than due a run may be.
func (e *entry) lead() time.Duration { return min(e.probe.Interval/leadPart, maxLead) }

// nanos is t as nanoseconds since the epoch by the anchored clock.
func (s *schedule) nanos(t time.Time) int64 {
	return s.anchor.UnixNano() + int64(t.Sub(s.anchor))
}

// queue is the heap of entries by due time.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}
