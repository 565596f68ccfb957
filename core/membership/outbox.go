package membership

import (
	"slices"

	"github.com/seahow-uk/nodeprobe/core"
)

// outbox is what is told and dialled outside of the lock.
type outbox struct {
	peers   bool
	events  []func(Journal)
	changed []core.NodeID
	dials   []dial
}

// dial is an order to the Dialer.
type dial struct {
	target  core.Target
	trigger core.Trigger
	fresh   bool
}

func (o *outbox) take() outbox {
	taken := *o
	*o = outbox{}
	return taken
}

func (m *Mesh) beginLocked(kind core.EventKind, id core.NodeID, message string) {
	m.out.events = append(m.out.events, func(j Journal) { j.Begin(kind, id.String(), message) })
}

func (m *Mesh) endLocked(kind core.EventKind, id core.NodeID) {
	m.out.events = append(m.out.events, func(j Journal) { j.End(kind, id.String()) })
}

func (m *Mesh) noteLocked(kind core.EventKind, id core.NodeID, message string) {
	m.out.events = append(m.out.events, func(j Journal) { j.Note(kind, id.String(), message) })
}

// touchedLocked marks a node as changed: to be told, saved, and polled as it is now.
func (m *Mesh) touchedLocked(n *member) {
	if !slices.Contains(m.out.changed, n.ID) {
		m.out.changed = append(m.out.changed, n.ID)
	}
	m.out.peers = true
	m.shared.stale = true
	m.dirt.add(n.ID)
	m.rouse()
}
