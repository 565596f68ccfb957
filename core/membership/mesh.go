package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

// ErrUnknownNode: no node has that id.
var ErrUnknownNode = errors.New("unknown node")

// Seed is a first peer, from seed.json. FQDN and IP are two ways to one node;
// one of them may be empty. ID, when not zero, is the id it must have.
type Seed struct {
	FQDN, IP string
	Port     uint16
	ID       core.NodeID
}

// NodeStore remembers nodes across restarts.
type NodeStore interface {
	SaveNodes(ctx context.Context, ns []core.Node) error
	DeleteNodes(ctx context.Context, ids []core.NodeID) error
}

// Journal takes what happens, as core.Journal does.
type Journal interface {
	Begin(kind core.EventKind, subject, message string)
	End(kind core.EventKind, subject string)
	Note(kind core.EventKind, subject, message string)
}

// Dialer runs the identifying probe at once, as core.Engine does; the result
// comes to Mesh.Observe.
type Dialer interface {
	Dial(t core.Target, trig core.Trigger, fresh bool) error
}

// Options are what a Mesh needs. Store, Peers, Changed and Log may be nil.
type Options struct {
	Self  core.Self
	Trust Trust
	// Interval of the identifying probe; 0 means 30 s.
	Interval time.Duration
	Seeds    []Seed
	// Known are the nodes of the store, Open the events that had not ended when
	// the last process did.
	Known   []core.Node
	Open    []core.Event
	Policy  Policy
	Store   NodeStore
	Journal Journal
	Dialer  Dialer
	// Peers gets the full set to poll whenever it changes; Changed every node
	// whose record changed, but for times. Both are called from Run alone.
	Peers   func([]core.Peer)
	Changed func(core.Node)
	Log     hclog.Logger
}

// maxNodes is where a mesh ends: a full mesh beyond it polls more than it measures.
const maxNodes = 5000

// Mesh is the membership as self sees it. All methods may be called
// concurrently; none waits for the network or the store.
type Mesh struct {
	o    Options
	log  hclog.Logger
	wake chan struct{}
	dirt *dirt

	mu         sync.Mutex // guards what follows
	nodes      map[core.NodeID]*member
	byKey      map[core.KeyHash]*member
	byEndpoint map[core.Endpoint]*member
	selfAt     map[core.Endpoint]bool
	seeds      []*candidate
	candidates *candidates
	dialling   map[core.Endpoint]*candidate
	budget     budget
	confirming map[core.NodeID]*member
	out        outbox
	started    time.Time
	news       time.Time // when something new was last learned
	nextLook   time.Time
	nextSweep  time.Time
	shared     sharedList
	cloneSeen  time.Time // self's key was last seen elsewhere
}

// New makes the mesh of the known nodes. Run starts it.
func New(o Options) *Mesh {
	if o.Interval <= 0 {
		o.Interval = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	now := time.Now()
	m := &Mesh{
		o: o, log: o.Log,
		wake:       make(chan struct{}, 1),
		dirt:       newDirt(),
		nodes:      map[core.NodeID]*member{},
		byKey:      map[core.KeyHash]*member{},
		byEndpoint: map[core.Endpoint]*member{},
		selfAt:     map[core.Endpoint]bool{},
		candidates: newCandidates(),
		dialling:   map[core.Endpoint]*candidate{},
		budget:     budget{tokens: dialBurst, filled: now},
		confirming: map[core.NodeID]*member{},
		started:    now, news: now, nextLook: now, nextSweep: now,
		shared: sharedList{version: uint64(now.UnixMicro())},
	}
	if o.Self.Advertise.Port != 0 {
		m.selfAt[o.Self.Advertise] = true
	}
	// Nobody else has m yet, so the lock is not needed.
	for _, s := range o.Seeds {
		m.addSeedLocked(s, now)
	}
	for _, n := range o.Known {
		m.restore(n, now)
	}
	m.closeEvents(o.Open)
	m.out.peers = len(m.nodes) > 0
	return m
}

// Run keeps the mesh until ctx ends; then it saves what has changed, within 5 s.
func (m *Mesh) Run(ctx context.Context) error {
	var save sync.WaitGroup
	save.Go(func() { m.runPersist(ctx) })
	defer save.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-m.wake:
		}
		timer.Reset(time.Until(m.step(time.Now())))
	}
}

func (m *Mesh) rouse() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// step does what is due, tells what has happened, and returns when to come again.
func (m *Mesh) step(now time.Time) time.Time {
	m.mu.Lock()
	next := m.sweepLocked(now)
	next = sooner(next, m.confirmDueLocked(now))
	next = sooner(next, m.dialDueLocked(now))
	next = sooner(next, m.lookAroundLocked(now))
	out := m.out.take()
	var peers []core.Peer
	if out.peers {
		peers = m.peersLocked()
	}
	m.mu.Unlock()

	if out.peers && m.o.Peers != nil {
		m.o.Peers(peers)
	}
	for _, tell := range out.events {
		tell(m.o.Journal)
	}
	if m.o.Changed != nil {
		for _, id := range out.changed {
			if n, ok := m.Node(id); ok {
				m.o.Changed(n)
			}
		}
	}
	for _, d := range out.dials {
		if err := m.o.Dialer.Dial(d.target, d.trigger, d.fresh); err != nil {
			m.undialled(d, err)
		}
	}
	return next
}

func sooner(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// sweepLocked is the housekeeping of every minute.
func (m *Mesh) sweepLocked(now time.Time) time.Time {
	if now.Before(m.nextSweep) {
		return m.nextSweep
	}
	m.nextSweep = now.Add(time.Minute)
	m.candidates.prune(now)
	for e, c := range m.dialling { // whose result was lost
		if now.Sub(c.dialled) > lostAfter {
			m.landedLocked(c, e)
			c.notMeasured(now)
		}
	}
	for _, n := range m.nodes {
		if expired(n.Node, n.tried, now) {
			m.noteLocked(core.EventNodeExpired, n.ID, fmt.Sprintf("%s was not seen for 7 days and is forgotten", n.Name()))
			m.removeLocked(n)
		}
	}
	m.sweepCloneLocked(now)
	return m.nextSweep
}

// Nodes is every node, sorted by id.
func (m *Mesh) Nodes() []core.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	ns := make([]core.Node, 0, len(m.nodes))
	for _, n := range m.nodes {
		ns = append(ns, n.Node)
	}
	sortByID(ns)
	return ns
}

func sortByID(ns []core.Node) {
	slices.SortFunc(ns, func(a, b core.Node) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}

// Node is the node with that id.
func (m *Mesh) Node(id core.NodeID) (core.Node, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.nodes[id]; n != nil {
		return n.Node, true
	}
	return core.Node{}, false
}

// ByKey is the node with that key.
func (m *Mesh) ByKey(k core.KeyHash) (core.Node, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.byKey[k]; n != nil {
		return n.Node, true
	}
	return core.Node{}, false
}

// Candidates counts the addresses that may be nodes: unproven ones and seeds
// that have not answered yet.
func (m *Mesh) Candidates() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	count := len(m.candidates.byEndpoint)
	for _, s := range m.seeds {
		if !s.settled {
			count++
		}
	}
	return count
}

// Forget drops a node and its pinned key: the next contact is the first. It
// returns ErrUnknownNode when there is no such node.
func (m *Mesh) Forget(id core.NodeID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[id]
	if n == nil {
		return fmt.Errorf("forget node %s: %w", id, ErrUnknownNode)
	}
	m.removeLocked(n)
	return nil
}
