package membership

import (
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// member is a node with what is needed to watch it.
type member struct {
	core.Node
	// services that it told self of; their keys are never stored nor shown.
	services []core.Service
	turn     int           // which endpoint is tried, counted in misses while it is down
	pace     time.Duration // pause between polls; 0: the interval
	confirm  *confirmation
	// looking is when its list was asked for beside the schedule; zero: not now.
	looking time.Time
	nudged  time.Time
	// tried tells that a poll of this process was answered or missed.
	tried bool
	// hungry: part of its list had to be left for want of budget.
	hungry    bool
	sightings []sighting
	rival     core.Endpoint // where another run of its key was seen last
	rivalNext time.Time
}

// peersLocked is the full set to poll.
func (m *Mesh) peersLocked() []core.Peer {
	peers := make([]core.Peer, 0, len(m.nodes))
	for _, n := range m.nodes {
		peers = append(peers, core.Peer{Target: m.targetLocked(n, n.endpoint()), Pace: n.pace})
	}
	return peers
}

// endpoint is the one to poll: the one that worked last, and while nothing
// does, each in turn.
func (n *member) endpoint() core.Endpoint { return n.Endpoints[n.turn%len(n.Endpoints)] }

// targetLocked pins the key unless anybody may take over.
func (m *Mesh) targetLocked(n *member, at core.Endpoint) core.Target {
	t := core.Target{Node: n.ID, Endpoint: at, Services: n.services}
	if m.o.Trust != TrustOpen {
		t.Key = n.Key
	}
	return t
}

// insertLocked puts a node into all tables.
func (m *Mesh) insertLocked(n *member) {
	m.nodes[n.ID] = n
	if !n.Key.IsZero() {
		m.byKey[n.Key] = n
	}
	for _, e := range n.Endpoints {
		if m.byEndpoint[e] == nil {
			m.byEndpoint[e] = n
		}
	}
}

// removeLocked takes a node out of all tables and of the store, and ends its events.
// A seed that led to it is dialled again.
func (m *Mesh) removeLocked(n *member) {
	delete(m.nodes, n.ID)
	delete(m.confirming, n.ID)
	if m.byKey[n.Key] == n {
		delete(m.byKey, n.Key)
	}
	for _, e := range n.Endpoints {
		if m.byEndpoint[e] == n {
			delete(m.byEndpoint, e)
		}
	}
	for _, s := range m.seeds {
		if s.settled && s.node == n.ID {
			s.settled, s.failures, s.next = false, 0, time.Now()
		}
	}
	for _, kind := range []core.EventKind{core.EventNodeState, core.EventNodeIdentity, core.EventConflict} {
		m.endLocked(kind, n.ID)
	}
	m.out.peers = true
	m.shared.stale = true
	m.dirt.add(n.ID)
	m.rouse()
}
