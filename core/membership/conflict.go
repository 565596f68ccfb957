package membership

import (
	"fmt"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// keptSightings is as far back as a conflict shows: there, elsewhere, and back.
const keptSightings = 4

// sightedLocked notes which run of n answered where. The current endpoint stays the
// one to be polled while it answers, so a second run elsewhere shows as there,
// elsewhere, and back.
func (m *Mesh) sightedLocked(now time.Time, n *member, at core.Endpoint, id core.Identity) {
	if id.BootID == "" {
		return
	}
	was := sighting{}
	if len(n.sightings) > 0 {
		was = n.sightings[len(n.sightings)-1]
	}
	if was.boot == id.BootID && was.at == at {
		n.sightings[len(n.sightings)-1].when = now
		m.resolveConflictLocked(now, n, at)
		return
	}
	n.sightings = append(n.sightings, sighting{id.BootID, at, now})
	n.sightings = n.sightings[max(0, len(n.sightings)-keptSightings):]
	within := sharedIntervals * m.o.Interval
	if conflicting(n.sightings, within) {
		m.log.Warn("identity conflict", "node", n.ID.String(), "at", at.String(), "and", was.at.String())
		m.beginLocked(core.EventConflict, n.ID, fmt.Sprintf("the key of %s runs twice", n.Name()))
		n.rival, n.rivalNext = was.at, now.Add(within)
	}
}

// resolveConflictLocked looks at the other place again and again; the conflict ends
// when only one run was seen for three intervals.
func (m *Mesh) resolveConflictLocked(now time.Time, n *member, at core.Endpoint) {
	if n.rival == (core.Endpoint{}) || now.Before(n.rivalNext) {
		return
	}
	within := sharedIntervals * m.o.Interval
	for _, s := range n.sightings {
		if s.boot != n.sightings[len(n.sightings)-1].boot && now.Sub(s.when) <= 2*within {
			n.rivalNext = now.Add(within)
			m.out.dials = append(m.out.dials, dial{m.targetLocked(n, n.rival), core.TriggerDiscovery, true})
			m.rouse()
			return
		}
	}
	n.rival = core.Endpoint{}
	m.endLocked(core.EventConflict, n.ID)
}

// clonedLocked: self's own key answers with another boot id: the data directory was
// copied and runs twice.
func (m *Mesh) clonedLocked(now time.Time, at core.Endpoint) {
	m.cloneSeen = now
	m.beginLocked(core.EventConflict, m.o.Self.ID, fmt.Sprintf("the key of this node also runs at %s", at))
	m.rouse()
}

// sweepCloneLocked ends that event when the other one was not met for an hour, the
// longest pause between two dials of a candidate.
func (m *Mesh) sweepCloneLocked(now time.Time) {
	if !m.cloneSeen.IsZero() && now.Sub(m.cloneSeen) > maxRedialAfter+redialAfter {
		m.cloneSeen = time.Time{}
		m.endLocked(core.EventConflict, m.o.Self.ID)
	}
}
