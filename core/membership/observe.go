package membership

import (
	"cmp"
	"fmt"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// Observe takes in the result of a run. Only identifying probes say who is
// there; a result that says nothing about its target changes no state.
func (m *Mesh) Observe(r core.Result) {
	if !r.Job.Identifies || r.Job.Trigger == core.TriggerManual {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if r.Job.Target.Node.IsZero() {
		m.observeCandidateLocked(now, r)
		return
	}
	if n := m.nodes[r.Job.Target.Node]; n != nil {
		m.observeNodeLocked(now, n, r)
	}
}

// who is the identity that a run proved; nil when it proved none.
func who(r core.Result) *core.Identity {
	if r.Learned == nil || r.Learned.Identity == nil || r.Learned.Identity.Key.IsZero() {
		return nil
	}
	id := *r.Learned.Identity
	id.Version = core.CleanText(id.Version, 64)
	id.BootID = core.CleanText(id.BootID, 64)
	if e, err := core.NewEndpoint(id.FQDN, core.DefaultPort); err != nil || e.IP().IsValid() || e.Host == "unknown" {
		id.FQDN = ""
	} else {
		id.FQDN = e.Host
	}
	return &id
}

func (m *Mesh) observeNodeLocked(now time.Time, n *member, r core.Result) {
	if r.Job.Trigger == core.TriggerDiscovery {
		n.looking = time.Time{}
	}
	at, id := r.Job.Target.Endpoint, who(r)
	switch {
	case !r.AboutTarget(), r.Outcome == core.OutcomeSuccess && id == nil:
		m.unmeasuredLocked(now, n, r.Job.Trigger, at)
	case stale(n.Node, r):
		m.unmeasuredLocked(now, n, r.Job.Trigger, at)
	case id != nil && !sameNode(n.Node, *id):
		m.strangerLocked(now, n, at, *id, r)
	case r.Outcome == core.OutcomeSuccess:
		m.metLocked(now, n, at, *id, r)
	case r.Reason == core.ReasonIdentity:
		m.mistakenLocked(now, n, at, r)
	default:
		m.missLocked(now, n, r)
	}
}

// stale tells that a failure says nothing new: n has answered since the run
// began, or the run looked at another endpoint of a node that is well.
func stale(n core.Node, r core.Result) bool {
	aside := r.Job.Trigger == core.TriggerDiscovery && n.State == core.StateAlive && r.Job.Target.Endpoint != n.Endpoints[0]
	return r.Outcome == core.OutcomeFailure && (aside || r.At().Before(n.LastSeen))
}

// strangerLocked: a key that is not n's answered at n's endpoint. Where keys are not
// pinned, the newcomer takes over.
func (m *Mesh) strangerLocked(now time.Time, n *member, at core.Endpoint, id core.Identity, r core.Result) {
	if m.o.Trust != TrustOpen {
		m.mistakenLocked(now, n, at, r)
		return
	}
	if r.Outcome == core.OutcomeSuccess {
		c := &candidate{at: []core.Endpoint{at}, foundBy: n.DiscoveredBy}
		m.settleLocked(now, c, at, id, r)
		if n.LastSeen.Equal(now) || m.nodes[n.ID] != n {
			return // it was the same node with a new key
		}
	}
	r.Outcome, r.Reason = core.OutcomeFailure, core.ReasonIdentity
	r.Message = "another node answers at " + at.String()
	m.missLocked(now, n, r)
}

// mistakenLocked: the target is not the node that it should be. At the current
// endpoint of a pinned node that is quarantine, nothing is learned from it. At
// another one it only tells that the node is not there any more.
func (m *Mesh) mistakenLocked(now time.Time, n *member, at core.Endpoint, r core.Result) {
	if m.o.Trust == TrustOpen || n.Key.IsZero() {
		m.missLocked(now, n, r)
		return
	}
	if at != n.Endpoints[0] && len(n.Endpoints) > 1 {
		m.loseEndpointLocked(n, at)
		m.missLocked(now, n, r)
		return
	}
	m.quarantineLocked(now, n, at)
	n.turn++
}

func (m *Mesh) quarantineLocked(now time.Time, n *member, at core.Endpoint) {
	n.tried = true
	n.Failures++
	n.pace = nextPace(n.pace, m.o.Interval)
	m.out.peers = true
	m.rouse()
	if n.State == core.StateQuarantined {
		return
	}
	m.setStateLocked(now, n, core.StateQuarantined, core.ReasonIdentity,
		fmt.Sprintf("%s: another key answers at %s than the one pinned", n.Name(), at))
}

func (m *Mesh) loseEndpointLocked(n *member, at core.Endpoint) {
	n.Endpoints = dropEndpoint(n.Endpoints, at)
	if m.byEndpoint[at] == n {
		delete(m.byEndpoint, at)
	}
	m.touchedLocked(n)
}

func (m *Mesh) observeCandidateLocked(now time.Time, r core.Result) {
	at := r.Job.Target.Endpoint
	c := m.dialling[at]
	if c == nil {
		return
	}
	m.landedLocked(c, at)
	id := who(r)
	switch {
	case !r.AboutTarget(), r.Outcome == core.OutcomeSuccess && id == nil:
		c.notMeasured(now)
		m.budget.refund()
	case r.Outcome == core.OutcomeSuccess:
		m.settleLocked(now, c, at, *id, r)
	default:
		c.why = "does not answer: " + cmp.Or(r.Message, string(r.Reason))
		if c.seed && c.failures == 1 { // not at the first: all of a mesh may just start
			m.log.Warn("seed does not answer", "at", at.String(), "reason", string(r.Reason), "message", r.Message)
		}
		c.failed(now)
	}
}

// settleLocked decides what a proven identity at an endpoint means, and does it.
func (m *Mesh) settleLocked(now time.Time, c *candidate, at core.Endpoint, id core.Identity, r core.Result) {
	verdict, why := judge(m.contactLocked(at, id))
	if c.seed && !c.want.IsZero() && id.ID != c.want && verdict != isSelf {
		verdict, why = refuse, "is not the node that seed.json says it is"
		m.beginLocked(core.EventNodeIdentity, c.want, fmt.Sprintf("the seed at %s shows the id %s", at, id.ID))
	}
	switch verdict {
	case refuse:
		m.refusedLocked(now, c, at, id, why)
		return
	case isClone:
		m.clonedLocked(now, at)
		c.why = "is another run of this node's key"
		c.failed(now)
		return
	case isSelf:
		m.selfAt[at] = true
		m.doneLocked(c, core.NodeID{})
		return
	}
	n := m.recordOfLocked(now, verdict, c, at, id)
	if n == nil {
		m.refusedLocked(now, c, at, id, "there is no room for more nodes")
		return
	}
	m.doneLocked(c, n.ID)
	m.adoptSeedLocked(n, c)
	m.metLocked(now, n, at, id, r)
}

func (m *Mesh) contactLocked(at core.Endpoint, id core.Identity) contact {
	ct := contact{trust: m.o.Trust, self: m.o.Self, who: id}
	if n := m.byKey[id.Key]; n != nil {
		ct.byKey = &n.Node
	}
	if n := m.nodes[id.ID]; n != nil {
		ct.byID = &n.Node
	}
	if n := m.byEndpoint[at]; n != nil && n.Endpoints[0] == at {
		ct.holder = &n.Node
	}
	return ct
}

// recordOfLocked is the record of who was met, made or changed as the verdict says;
// nil when there is no room for a new one.
func (m *Mesh) recordOfLocked(now time.Time, v verdict, c *candidate, at core.Endpoint, id core.Identity) *member {
	switch v {
	case isKnown:
		return m.byKey[id.Key]
	case isRenamed:
		n := m.byKey[id.Key]
		m.log.Info("node has a new id", "was", n.ID.String(), "is", id.ID.String())
		m.renameLocked(n, id.ID)
		return n
	case isRekeyed:
		n := m.nodes[id.ID]
		delete(m.byKey, n.Key)
		n.Key, n.Proven = id.Key, proven(id)
		m.byKey[n.Key] = n
		m.touchedLocked(n)
		return n
	case isOwner:
		m.log.Warn("node claimed the id of another one and is dropped", "node", id.ID.String())
		m.removeLocked(m.nodes[id.ID])
	}
	if len(m.nodes) >= maxNodes {
		return nil
	}
	return m.admitLocked(now, c, at, id)
}

// renameLocked keeps the record and changes the id; the old one goes from the store.
func (m *Mesh) renameLocked(n *member, id core.NodeID) {
	was := n.ID
	delete(m.nodes, was)
	delete(m.confirming, was)
	for _, kind := range []core.EventKind{core.EventNodeState, core.EventNodeIdentity, core.EventConflict} {
		m.endLocked(kind, was)
	}
	for _, s := range m.seeds {
		if s.settled && s.node == was {
			s.node = id
		}
	}
	n.ID, n.Proven = id, n.Key.NodeID() == id
	n.confirm = nil
	m.nodes[id] = n
	m.dirt.add(was)
	m.touchedLocked(n)
}

func (m *Mesh) admitLocked(now time.Time, c *candidate, at core.Endpoint, id core.Identity) *member {
	n := &member{Node: core.Node{
		ID: id.ID, Key: id.Key, Proven: proven(id), FQDN: id.FQDN,
		Endpoints: []core.Endpoint{at}, Version: id.Version, BootID: id.BootID,
		DiscoveredBy: c.foundBy, State: core.StateAlive,
		Since: now, FirstSeen: now, LastSeen: now,
	}}
	if holder := m.byEndpoint[at]; holder != nil && len(holder.Endpoints) > 1 {
		m.loseEndpointLocked(holder, at)
	}
	m.insertLocked(n)
	m.byEndpoint[at] = n
	m.news = now
	m.log.Info("node joined", "node", n.ID.String(), "name", n.Name(), "at", at.String(), "by", c.foundBy)
	m.noteLocked(core.EventNodeJoined, n.ID, fmt.Sprintf("%s joined at %s", n.Name(), at))
	m.touchedLocked(n)
	return n
}

// refusedLocked: a candidate that is not admitted. If it sits where a pinned node
// should be, that node is not there.
func (m *Mesh) refusedLocked(now time.Time, c *candidate, at core.Endpoint, id core.Identity, why string) {
	m.log.Warn("node refused", "at", at.String(), "id", id.ID.String(), "why", why)
	if h := m.byEndpoint[at]; h != nil && m.o.Trust != TrustOpen && h.Endpoints[0] == at && !h.Key.IsZero() && h.Key != id.Key {
		m.quarantineLocked(now, h, at)
	}
	c.why = "is refused: " + why
	c.failed(now)
}

// doneLocked ends a candidate that turned out to be a node, or self.
func (m *Mesh) doneLocked(c *candidate, node core.NodeID) {
	if c.seed {
		m.settleSeedLocked(c, node)
		return
	}
	m.candidates.remove(c)
	m.candidates.refund(c.source)
	m.budget.refund()
}

func (m *Mesh) settleSeedLocked(c *candidate, node core.NodeID) {
	c.settled, c.node, c.failures, c.unmeasured = true, node, 0, 0
	if !c.want.IsZero() && node == c.want {
		m.endLocked(core.EventNodeIdentity, node)
	}
}

// adoptSeedLocked makes the node of a seed one that never expires, with the seed's
// other way to it as a further endpoint: the operator says that both are one.
func (m *Mesh) adoptSeedLocked(n *member, c *candidate) {
	if !c.seed {
		return
	}
	for _, e := range c.at {
		if m.byEndpoint[e] == nil && !m.selfAt[e] {
			n.Endpoints = addEndpoint(n.Endpoints, e, false)
			m.byEndpoint[e] = n
		}
	}
	n.Seed = true
	m.touchedLocked(n)
}
