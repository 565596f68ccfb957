package membership

import (
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// restore takes in a node of the store. A confirmation does not survive a
// restart, nor do times ahead of a clock that was set back: no failure would
// count until they are reached.
func (m *Mesh) restore(n core.Node, now time.Time) {
	if n.ID.IsZero() || n.ID == m.o.Self.ID || len(n.Endpoints) == 0 || m.nodes[n.ID] != nil {
		return
	}
	if !n.Key.IsZero() && (m.byKey[n.Key] != nil || n.Key == m.o.Self.Key) {
		return
	}
	for _, t := range []*time.Time{&n.Since, &n.FirstSeen, &n.LastSeen} {
		if t.After(now) {
			*t = now
		}
	}
	if n.State == core.StateSuspect {
		n.State, n.Reason, n.Message, n.Failures = core.StateAlive, "", "", 0
	}
	n.Seed = n.Seed && m.ofSeed(n)
	r := &member{Node: n}
	if n.State == core.StateLeft {
		r.pace = leftPace
	}
	m.insertLocked(r)
	if n.State != core.StateAlive {
		m.tellLocked(r)
	}
}

// ofSeed tells that a node of the store is one that seed.json still names.
func (m *Mesh) ofSeed(n core.Node) bool {
	return slices.ContainsFunc(m.seeds, func(s *candidate) bool {
		return s.want == n.ID || slices.ContainsFunc(s.at, func(e core.Endpoint) bool { return slices.Contains(n.Endpoints, e) })
	})
}

// closeEvents ends what was open when the last process ended and does not last:
// it may have been killed between the write of a node and that of its event.
func (m *Mesh) closeEvents(open []core.Event) {
	for _, e := range open {
		id, err := core.ParseNodeID(e.Subject)
		if err != nil {
			continue
		}
		n := m.nodes[id]
		switch e.Kind {
		case core.EventNodeState:
			if n == nil || n.State.Active() {
				m.endLocked(e.Kind, id)
			}
		case core.EventNodeIdentity:
			if n == nil || n.State != core.StateQuarantined {
				m.endLocked(e.Kind, id)
			}
		case core.EventConflict: // begins anew when both are met again
			m.endLocked(e.Kind, id)
		}
	}
}
