package membership

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// While something new was learned within brisk, the lists of a few peers are
	// asked for every briskLook; until calm every calmLook; then the polls do.
	brisk, calm         = 10 * time.Second, time.Minute
	briskLook, calmLook = time.Second, 5 * time.Second
	looks               = 3
	// lostAfter is when the result of a dial is not waited for any more.
	lostAfter = 2 * time.Minute
	// maxHints of one list are looked at.
	maxHints = 2000
)

// dialDueLocked orders the dials of seeds and candidates whose turn has come.
func (m *Mesh) dialDueLocked(now time.Time) (next time.Time) {
	for _, s := range m.seeds {
		switch {
		case s.settled || s.dialling:
		case s.next.After(now):
			next = sooner(next, s.next)
		default:
			m.dialCandidateLocked(now, s)
		}
	}
	ready, later := m.candidates.due(now)
	next = sooner(next, later)
	for _, c := range ready {
		if len(m.dialling) >= maxDialling {
			break // a result wakes the loop
		}
		if m.mootLocked(c) {
			continue
		}
		if m.candidates.spares(now, c) {
			c.failed(now)
			next = sooner(next, c.next)
			continue
		}
		wait, ok := m.budget.spend(now)
		if !ok {
			return sooner(next, now.Add(wait))
		}
		m.candidates.dialled[c.endpoint()] = dialled{now, c}
		m.dialCandidateLocked(now, c)
	}
	return next
}

// mootLocked drops a candidate that has become known meanwhile.
func (m *Mesh) mootLocked(c *candidate) bool {
	at := c.endpoint()
	if !m.selfAt[at] && (m.byEndpoint[at] == nil || m.o.Trust == TrustOpen || m.byEndpoint[at].Endpoints[0] != at) {
		return false
	}
	m.candidates.remove(c)
	m.candidates.refund(c.source)
	return true
}

func (m *Mesh) dialCandidateLocked(now time.Time, c *candidate) {
	at := c.endpoint()
	if m.selfAt[at] {
		m.settleSeedLocked(c, core.NodeID{})
		return
	}
	if m.dialling[at] != nil { // by another name of it
		c.next = now.Add(time.Second)
		return
	}
	c.dialling, c.dialled = true, now
	m.dialling[at] = c
	m.out.dials = append(m.out.dials, dial{core.Target{Endpoint: at}, core.TriggerDiscovery, false})
}

// undialled takes back an order that could not be carried out.
func (m *Mesh) undialled(d dial, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log.Debug("dial not possible", "target", d.target.Endpoint.String(), "error", err)
	now := time.Now()
	if c := m.dialling[d.target.Endpoint]; c != nil && d.target.Node.IsZero() {
		m.landedLocked(c, d.target.Endpoint)
		c.notMeasured(now)
		return
	}
	if n := m.nodes[d.target.Node]; n != nil {
		m.unmeasuredLocked(now, n, d.trigger, d.target.Endpoint)
	}
}

// landedLocked ends the dial of a candidate.
func (m *Mesh) landedLocked(c *candidate, at core.Endpoint) {
	delete(m.dialling, at)
	c.dialling = false
	m.rouse()
}

// lookAroundLocked asks a few peers for their lists while the mesh is young or
// changing: news then travels in seconds, whatever the interval is.
func (m *Mesh) lookAroundLocked(now time.Time) time.Time {
	pause := calmLook
	switch age := now.Sub(m.news); {
	case age > calm:
		return time.Time{} // news wakes the loop
	case age <= brisk:
		pause = briskLook
	}
	if next := m.nextLook.Add(pause); next.After(now) {
		return next
	}
	m.nextLook = now
	var alive []*member
	for _, n := range m.nodes {
		if n.State == core.StateAlive && now.Sub(n.looking) > lostAfter {
			alive = append(alive, n)
		}
	}
	rand.Shuffle(len(alive), func(i, j int) { alive[i], alive[j] = alive[j], alive[i] })
	slices.SortStableFunc(alive, func(a, b *member) int { return hunger(b) - hunger(a) })
	for _, n := range alive[:min(len(alive), looks)] {
		n.looking = now
		more := n.hungry && !m.candidates.exhausted(now, n.ID.String())
		m.out.dials = append(m.out.dials, dial{m.targetLocked(n, n.endpoint()), core.TriggerDiscovery, more})
	}
	return now.Add(pause)
}

func hunger(n *member) int {
	if n.hungry {
		return 1
	}
	return 0
}

// learnLocked takes the list of an accepted node: hearsay, each entry a candidate at
// most. A list that has not changed comes empty and leaves what is hungry so.
func (m *Mesh) learnLocked(now time.Time, from *member, hints []core.PeerHint) {
	if len(hints) == 0 {
		return
	}
	from.hungry = false
	for _, h := range hints[:min(len(hints), maxHints)] {
		if h.ID == m.o.Self.ID {
			continue
		}
		n := m.nodes[h.ID]
		if n != nil && n.State.Active() && (n.IP().IsValid() || h.IP == "") {
			continue
		}
		at := endpointsOf(h, m.o.Policy)
		if len(at) > 1 && !h.ID.IsZero() && m.selfAt[at[0]] {
			at = at[1:]
		}
		if len(at) == 0 || m.selfAt[at[0]] {
			continue
		}
		if n != nil && h.Active && from.Proven && !n.State.Active() {
			m.nudgeLocked(now, n)
		}
		id := from.ID.String()
		if !m.considerLocked(now, &candidate{at: at, claims: h.ID, foundBy: id, source: id}, core.KeyHash{}) {
			from.hungry = true
		}
	}
}

// considerLocked makes c a candidate unless what it says is known. False: no budget.
func (m *Mesh) considerLocked(now time.Time, c *candidate, key core.KeyHash) bool {
	id := c.claims
	if len(c.at) > 1 && m.isAnothersLocked(c, key) {
		c.at = c.at[1:]
	}
	if owner := m.byEndpoint[c.at[0]]; owner != nil && !m.contestsLocked(owner, c.at[0], id, key) {
		return true
	}
	if known := m.candidates.byEndpoint[c.at[0]]; known != nil {
		known.heard = now
		if c.caller && !known.caller && known.failures > 0 && !known.dialling { // it is there after all
			known.caller, known.failures, known.next = true, 0, now
			m.rouse()
		}
		return true
	}
	if s := m.seedAtLocked(c.at[0]); s != nil {
		if c.caller && !s.dialling && s.next.After(now) && now.Sub(s.dialled) >= time.Second { // it is up
			s.next = now
			m.rouse()
		}
		return true
	}
	if m.dialling[c.at[0]] != nil {
		return true
	}
	ok := m.candidates.add(now, c)
	if ok {
		m.rouse()
	}
	return ok
}

// isAnothersLocked tells that c's first address is that of somebody else: behind one
// NAT, or in containers of many hosts, nodes tell the same one.
func (m *Mesh) isAnothersLocked(c *candidate, key core.KeyHash) bool {
	if owner := m.byEndpoint[c.at[0]]; owner != nil {
		other := !c.claims.IsZero() && c.claims != owner.ID || !key.IsZero() && key != owner.Key
		return other && !m.contestsLocked(owner, c.at[0], c.claims, key)
	}
	known := m.candidates.byEndpoint[c.at[0]]
	return known != nil && !c.claims.IsZero() && !known.claims.IsZero() && c.claims != known.claims
}

// contestsLocked tells that somebody else than its owner may be at an endpoint. The
// current endpoint of a pinned node is not contested, but looked at.
func (m *Mesh) contestsLocked(owner *member, at core.Endpoint, id core.NodeID, key core.KeyHash) bool {
	switch {
	case id.IsZero() && key.IsZero(), !id.IsZero() && id == owner.ID, !key.IsZero() && key == owner.Key:
		return false
	case m.o.Trust != TrustOpen && owner.Endpoints[0] == at:
		return false
	default:
		return !owner.State.Active() || !key.IsZero()
	}
}

// seedAtLocked is the seed with that endpoint that has not answered yet; nil if there is none.
func (m *Mesh) seedAtLocked(at core.Endpoint) *candidate {
	for _, s := range m.seeds {
		if !s.settled && slices.Contains(s.at, at) {
			return s
		}
	}
	return nil
}
