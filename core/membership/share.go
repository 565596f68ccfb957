package membership

import (
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// sharedPause is how long a list of what is shared may be used again: nodes
// leave it by time alone.
const sharedPause = time.Second

// sharedList is the last list that was passed on. Its version starts at the
// clock: one that an earlier process gave out must not come again with other content.
type sharedList struct {
	nodes   []core.Node
	version uint64
	made    time.Time
	stale   bool
}

// Shared is what may be passed on: active nodes seen first-hand within the last
// three intervals, sorted by id. The version moves when the set, an address or
// an activity changes. The slice is shared: do not modify it.
func (m *Mesh) Shared() (nodes []core.Node, version uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, now := &m.shared, time.Now()
	if !s.stale && s.nodes != nil && now.Sub(s.made) < sharedPause {
		return s.nodes, s.version
	}
	ns := make([]core.Node, 0, len(m.nodes))
	for _, n := range m.nodes {
		if fresh(n.Node, m.o.Interval, now) {
			ns = append(ns, n.Node)
		}
	}
	sortByID(ns)
	if !slices.EqualFunc(ns, s.nodes, sameToOthers) {
		s.version++
	}
	s.nodes, s.made, s.stale = ns, now, false
	return s.nodes, s.version
}

// sameToOthers tells that two records of a node say the same to a peer.
func sameToOthers(a, b core.Node) bool {
	return a.ID == b.ID && a.Key == b.Key && a.FQDN == b.FQDN && a.State.Active() == b.State.Active() &&
		slices.Equal(a.Endpoints, b.Endpoints)
}
