package membership

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

const interval = 30 * time.Second

// world is a network in memory: hosts answer where they are.
type world struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex
	hosts map[core.Endpoint]*host
	dials map[core.Endpoint]int
	wait  sync.WaitGroup
}

// host is what answers at an endpoint: a mesh under test, or anything.
type host struct {
	who    core.Identity
	down   bool // refuses
	silent bool // lets the caller wait
	broken bool // its caller's plugin breaks
	tagged bool // tells its list once, and again only over a new connection
	told   bool
	list   func() []core.PeerHint
	called func(from *sim)
}

func newWorld(t *testing.T) *world {
	ctx, cancel := context.WithCancel(t.Context())
	w := &world{t: t, ctx: ctx, hosts: map[core.Endpoint]*host{}, dials: map[core.Endpoint]int{}}
	t.Cleanup(func() {
		cancel()
		w.wait.Wait()
	})
	return w
}

// change does something to the network between two answers.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) dialled(e core.Endpoint) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials[e]
}

func key(n int) core.KeyHash { return sha256.Sum256([]byte(fmt.Sprint("key ", n))) }

func addr(n int) core.Endpoint {
	return core.Endpoint{Host: fmt.Sprintf("10.0.%d.%d", n/250, n%250+1), Port: 443}
}

func identity(n int) core.Identity {
	return core.Identity{
		ID: key(n).NodeID(), Key: key(n), Proven: true,
		FQDN: fmt.Sprintf("n%d.example", n), Version: "1", BootID: fmt.Sprint("boot ", n),
	}
}

// original is a node of the original NodeProbe: its id is a claim.
func original(n int) core.Identity {
	sum := sha256.Sum256([]byte(fmt.Sprint("uuid ", n)))
	return core.Identity{ID: core.NodeID(sum[:16]), Key: key(n), FQDN: fmt.Sprintf("o%d.example", n)}
}

func hint(n int) core.PeerHint {
	return core.PeerHint{ID: key(n).NodeID(), IP: addr(n).Host, Port: addr(n).Port, Active: true}
}

// put sets up a host that runs no mesh.
func (w *world) put(at core.Endpoint, who core.Identity, list ...core.PeerHint) *host {
	h := &host{who: who, list: func() []core.PeerHint { return list }}
	w.change(func() { w.hosts[at] = h })
	return h
}

// dead sets up a host that refuses.
func (w *world) dead(at core.Endpoint, who core.Identity) {
	h := w.put(at, who)
	w.change(func() { h.down = true })
}

// sim is a node under test: a mesh with the real engine.
type sim struct {
	w       *world
	n       int
	at      core.Endpoint
	host    *host
	mesh    *Mesh
	engine  *core.Engine
	store   *fakeStore
	events  *fakeJournal
	results chan []core.Result
	ctx     context.Context
	stop    func()
}

type tweak func(*Options)

func seeds(at ...core.Endpoint) tweak {
	return func(o *Options) {
		for _, e := range at {
			s := Seed{Port: e.Port}
			if e.IP().IsValid() {
				s.IP = e.Host
			} else {
				s.FQDN = e.Host
			}
			o.Seeds = append(o.Seeds, s)
		}
	}
}

func known(ns []core.Node) tweak { return func(o *Options) { o.Known = ns } }
func open(o *Options)            { o.Trust = TrustOpen }

// node starts node n at its address.
func (w *world) node(n int, tweaks ...tweak) *sim { return w.nodeAt(n, addr(n), tweaks...) }

func (w *world) nodeAt(n int, at core.Endpoint, tweaks ...tweak) *sim {
	w.t.Helper()
	s := &sim{w: w, n: n, at: at, store: &fakeStore{nodes: map[core.NodeID]core.Node{}}, events: &fakeJournal{}}
	s.results = make(chan []core.Result, 256)
	who := identity(n)
	s.engine = core.NewEngine(core.EngineOptions{
		Dispatcher: s, Observe: func(r core.Result) { s.mesh.Observe(r) }, Self: who.ID,
	})
	o := Options{
		Self:  core.Self{ID: who.ID, Key: who.Key, FQDN: who.FQDN, BootID: who.BootID, Advertise: at},
		Trust: TrustTOFU, Interval: interval,
		Store: s.store, Journal: s.events, Dialer: s.engine, Peers: s.engine.SetPeers,
	}
	for _, t := range tweaks {
		t(&o)
	}
	who.BootID = o.Self.BootID
	s.mesh = New(o)
	s.host = &host{who: who, list: s.list, called: func(from *sim) { s.mesh.Caller(key(from.n), from.at) }}
	w.change(func() { w.hosts[at] = s.host })
	s.engine.SetProbes([]core.ProbeInfo{{Name: "https", Interval: interval, Timeout: 10 * time.Second, Identifies: true}})
	ctx, cancel := context.WithCancel(w.ctx)
	s.ctx = ctx
	var done sync.WaitGroup
	done.Go(func() { _ = s.engine.Run(ctx) })
	done.Go(func() { _ = s.mesh.Run(ctx) })
	s.stop = func() {
		cancel()
		done.Wait()
	}
	w.t.Cleanup(s.stop)
	return s
}

func (s *sim) list() []core.PeerHint {
	shared, _ := s.mesh.Shared()
	var hints []core.PeerHint
	for _, n := range shared {
		e := n.Endpoints[0]
		hints = append(hints, core.PeerHint{ID: n.ID, FQDN: n.FQDN, IP: e.Host, Port: e.Port, Active: true})
	}
	return hints
}

// Submit and Results make the sim its own engine's dispatcher.
func (s *sim) Submit(j core.Job) error {
	s.w.wait.Go(func() {
		r := s.w.answer(s, j)
		select {
		case s.results <- []core.Result{r}:
		case <-s.ctx.Done():
		}
	})
	return nil
}

func (s *sim) Results() <-chan []core.Result { return s.results }

// answer is the run of a job: what the probe and the network do.
func (w *world) answer(from *sim, j core.Job) core.Result {
	r := core.Result{Job: j, Started: time.Now(), Outcome: core.OutcomeFailure}
	w.sleep(from.ctx, time.Duration(1+rand.IntN(10))*time.Millisecond)
	w.mu.Lock()
	h := w.hosts[j.Target.Endpoint]
	w.dials[j.Target.Endpoint]++
	var at host
	if h != nil {
		at = *h
		if at.tagged && at.told && !j.Fresh {
			at.list = func() []core.PeerHint { return nil }
		}
		h.told = true
	}
	w.mu.Unlock()
	switch {
	case at.broken:
		r.Outcome, r.Reason = core.OutcomePluginError, core.ReasonPluginCrashed
	case h == nil || at.silent:
		w.sleep(from.ctx, j.Timeout)
		r.Reason = core.ReasonTimeout
	case at.down:
		r.Reason, r.Message = "refused", "connection refused"
	case !j.Target.Key.IsZero() && j.Target.Key != at.who.Key:
		r.Reason = core.ReasonIdentity
		r.Learned = &core.Learned{Identity: &at.who, Peers: at.list()}
	default:
		if at.called != nil {
			at.called(from)
		}
		r.Outcome, r.RTT = core.OutcomeSuccess, time.Millisecond
		r.Learned = &core.Learned{Identity: &at.who, Peers: at.list()}
	}
	r.Took = time.Since(r.Started)
	return r
}

func (w *world) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// until lets time pass until what holds, checking the invariants every tick.
func (w *world) until(limit time.Duration, what string, holds func() bool, sims ...*sim) time.Duration {
	w.t.Helper()
	began := time.Now()
	for {
		for _, s := range sims {
			s.check()
		}
		if holds() {
			return time.Since(began)
		}
		if time.Since(began) >= limit {
			for _, s := range sims {
				w.t.Logf("node %d: %d nodes, %d candidates", s.n, len(s.mesh.Nodes()), s.mesh.Candidates())
			}
			w.t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// pass lets time pass, checking the invariants.
func (w *world) pass(d time.Duration, sims ...*sim) {
	w.t.Helper()
	tick := max(d/200, 100*time.Millisecond)
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(tick) {
		for _, s := range sims {
			s.check()
		}
	}
}

func (s *sim) state(n int) core.State {
	node, _ := s.mesh.ByKey(key(n))
	return node.State
}

func (s *sim) is(n int, want core.State) func() bool {
	return func() bool { return s.state(n) == want }
}

// knowsAll tells that every sim has every other one, alive, and nobody else.
func knowsAll(sims []*sim) func() bool {
	return func() bool {
		for _, s := range sims {
			alive := 0
			for _, n := range s.mesh.Nodes() {
				if n.State == core.StateAlive {
					alive++
				}
			}
			if alive != len(sims)-1 {
				return false
			}
		}
		return true
	}
}

// check holds the mesh to what must be true at any moment.
func (s *sim) check() {
	s.w.t.Helper()
	if err := s.mesh.invalid(); err != nil {
		s.w.t.Fatalf("node %d: %v", s.n, err)
	}
}

// invalid is the first invariant that does not hold.
func (m *Mesh) invalid() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.candidates.byEndpoint); n > maxCandidates {
		return fmt.Errorf("%d candidates", n)
	}
	if len(m.dialling) > maxDialling+len(m.seeds) {
		return fmt.Errorf("%d dials of candidates at once", len(m.dialling))
	}
	for e, owner := range m.byEndpoint {
		if m.nodes[owner.ID] != owner || !slices.Contains(owner.Endpoints, e) {
			return fmt.Errorf("endpoint %s is not its owner's", e)
		}
	}
	for k, n := range m.byKey {
		if n.Key != k || m.nodes[n.ID] != n {
			return fmt.Errorf("key %s is not its node's", k)
		}
	}
	for id, n := range m.nodes {
		if err := m.invalidMember(id, n); err != nil {
			return fmt.Errorf("node %s (%s, %s): %w", id.Short(), n.Name(), n.State, err)
		}
	}
	return nil
}

func (m *Mesh) invalidMember(id core.NodeID, n *member) error {
	ends := map[core.Endpoint]bool{}
	for _, e := range n.Endpoints {
		if ends[e] {
			return fmt.Errorf("endpoint %s twice", e)
		}
		ends[e] = true
	}
	switch {
	case n.ID != id || id.IsZero() || id == m.o.Self.ID:
		return fmt.Errorf("bad id %s", n.ID)
	case n.Key == m.o.Self.Key:
		return fmt.Errorf("self as a node")
	case !n.Key.IsZero() && m.byKey[n.Key] != n:
		return fmt.Errorf("key not in the table")
	case n.Proven != (n.Key.NodeID() == n.ID):
		return fmt.Errorf("proven is %t", n.Proven)
	case len(n.Endpoints) == 0 || len(n.Endpoints) > maxEndpoints:
		return fmt.Errorf("%d endpoints", len(n.Endpoints))
	case (n.State == core.StateSuspect) != (n.confirm != nil) || (n.confirm != nil) != (m.confirming[id] == n):
		return fmt.Errorf("confirmation does not fit")
	case n.State.Active() && n.pace != 0:
		return fmt.Errorf("active, but polled every %s", n.pace)
	case !n.State.Active() && n.pace < m.o.Interval && n.tried:
		return fmt.Errorf("inactive, but polled every %s", n.pace)
	case n.State == core.StateAlive && n.Failures > 0:
		return fmt.Errorf("alive with %d failures", n.Failures)
	}
	return nil
}

type fakeStore struct {
	mu    sync.Mutex
	nodes map[core.NodeID]core.Node
	fail  error
	saves int
}

func (f *fakeStore) SaveNodes(_ context.Context, ns []core.Node) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saves++
	for _, n := range ns {
		if f.fail == nil {
			f.nodes[n.ID] = n
		}
	}
	return f.fail
}

func (f *fakeStore) DeleteNodes(_ context.Context, ids []core.NodeID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if f.fail == nil {
			delete(f.nodes, id)
		}
	}
	return f.fail
}

func (f *fakeStore) all() []core.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.nodes))
}

// fakeJournal keeps every call, and what is open.
type fakeJournal struct {
	mu   sync.Mutex
	open map[string]string
	log  []string
}

// all is what is open.
func (f *fakeJournal) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.open))
}

func (f *fakeJournal) Begin(kind core.EventKind, subject, message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = map[string]string{}
	}
	if _, ok := f.open[string(kind)+subject]; !ok {
		f.log = append(f.log, "begin "+string(kind))
	}
	f.open[string(kind)+subject] = message
}

func (f *fakeJournal) End(kind core.EventKind, subject string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.open[string(kind)+subject]; ok {
		f.log = append(f.log, "end "+string(kind))
		delete(f.open, string(kind)+subject)
	}
}

func (f *fakeJournal) Note(kind core.EventKind, _, _ string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, "note "+string(kind))
}

func (f *fakeJournal) count(entry string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, e := range f.log {
		if e == entry {
			n++
		}
	}
	return n
}

func (f *fakeJournal) isOpen(kind core.EventKind, id core.NodeID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.open[string(kind)+id.String()]
	return ok
}
