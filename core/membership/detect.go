package membership

import (
	"fmt"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// A miss is confirmed on new connections before it means anything: a kept
// connection may have died where the peer has not.
const (
	firstConfirm  = time.Second
	secondConfirm = 3 * time.Second
)

// confirmation is the second look at a peer that missed a poll.
type confirmation struct {
	pending    []confirmStep // not dialled yet
	missed     int           // of need
	need       int
	unmeasured int
}

type confirmStep struct {
	when time.Time
	at   core.Endpoint
}

// newConfirmation asks twice where the peer was, and once at its next endpoint.
func newConfirmation(now time.Time, at []core.Endpoint) *confirmation {
	c := &confirmation{pending: []confirmStep{
		{now.Add(firstConfirm), at[0]},
		{now.Add(secondConfirm), at[0]},
	}}
	if len(at) > 1 {
		c.pending = append(c.pending, confirmStep{now.Add(secondConfirm), at[1]})
	}
	c.need = len(c.pending)
	return c
}

// confirmDueLocked orders the confirmations whose time has come.
func (m *Mesh) confirmDueLocked(now time.Time) (next time.Time) {
	for _, n := range m.confirming {
		var later []confirmStep
		for _, step := range n.confirm.pending {
			if step.when.After(now) {
				later = append(later, step)
				next = sooner(next, step.when)
				continue
			}
			m.out.dials = append(m.out.dials, dial{m.targetLocked(n, step.at), core.TriggerConfirm, true})
		}
		n.confirm.pending = later
	}
	return next
}

// metLocked: n answered. Everything that is known of it is brought up to date.
func (m *Mesh) metLocked(now time.Time, n *member, at core.Endpoint, id core.Identity, r core.Result) {
	n.tried = true
	if n.State == core.StateLeft && !returned(n.Node, id, r.Job.Trigger, now) {
		return
	}
	m.sightedLocked(now, n, at, id)
	if n.Key.IsZero() {
		n.Key, n.Proven = id.Key, proven(id)
		m.byKey[n.Key] = n
		m.touchedLocked(n)
	}
	m.placeEndpointLocked(now, n, at)
	if n.FQDN != id.FQDN || n.Version != id.Version || n.BootID != id.BootID {
		n.FQDN, n.Version, n.BootID = id.FQDN, id.Version, id.BootID
		m.touchedLocked(n)
	}
	if !slices.Equal(n.services, id.Services) {
		n.services = id.Services
		m.out.peers = true
		m.rouse()
	}
	n.LastSeen = now
	n.Failures, n.turn, n.confirm = 0, 0, nil
	delete(m.confirming, n.ID)
	if n.pace != 0 {
		n.pace = 0
		m.touchedLocked(n)
	}
	if n.State != core.StateAlive {
		m.news = now
		m.setStateLocked(now, n, core.StateAlive, "", "")
	}
	if r.Learned != nil {
		m.learnLocked(now, n, r.Learned.Peers)
	}
}

// placeEndpointLocked notes that n answers at an endpoint. It comes first only when
// the one before has failed: two ways to one node must not take turns.
func (m *Mesh) placeEndpointLocked(now time.Time, n *member, at core.Endpoint) {
	holder := m.byEndpoint[at]
	if holder == n && n.Endpoints[0] == at {
		return
	}
	if holder != nil && holder != n && len(holder.Endpoints) > 1 {
		m.loseEndpointLocked(holder, at)
	}
	before := n.Endpoints
	n.Endpoints = addEndpoint(before, at, n.Failures > 0 || !n.State.Active())
	for _, e := range before {
		if m.byEndpoint[e] == n {
			delete(m.byEndpoint, e)
		}
	}
	for _, e := range n.Endpoints {
		if e == at || m.byEndpoint[e] == nil {
			m.byEndpoint[e] = n
		}
	}
	if n.Endpoints[0] != before[0] || len(n.Endpoints) != len(before) {
		m.news = now
		m.touchedLocked(n)
	}
}

// missLocked: n did not answer a run that began after its last answer.
func (m *Mesh) missLocked(now time.Time, n *member, r core.Result) {
	n.tried = true
	if n.State == core.StateLeft {
		return
	}
	n.Failures++
	switch n.State {
	case core.StateAlive:
		n.confirm = newConfirmation(now, n.Endpoints)
		m.confirming[n.ID] = n
		m.setStateLocked(now, n, core.StateSuspect, r.Reason, r.Message)
	case core.StateSuspect:
		m.missConfirmLocked(now, n, r)
	default:
		n.turn++
		if r.Job.Trigger == core.TriggerSchedule {
			n.pace = nextPace(n.pace, m.o.Interval)
		}
		m.out.peers = true
		m.rouse()
	}
}

func (m *Mesh) missConfirmLocked(now time.Time, n *member, r core.Result) {
	if n.confirm == nil || r.Job.Trigger != core.TriggerConfirm {
		return
	}
	n.confirm.missed++
	if n.confirm.missed < n.confirm.need {
		return
	}
	n.confirm = nil
	delete(m.confirming, n.ID)
	n.turn++
	n.pace = nextPace(0, m.o.Interval)
	m.setStateLocked(now, n, core.StateDown, r.Reason, r.Message)
}

// unmeasuredLocked: a run said nothing about n. A confirmation is asked for again.
func (m *Mesh) unmeasuredLocked(now time.Time, n *member, trig core.Trigger, at core.Endpoint) {
	if trig == core.TriggerDiscovery {
		n.looking = time.Time{}
	}
	if trig != core.TriggerConfirm || n.confirm == nil {
		return
	}
	pause := min(firstConfirm<<min(n.confirm.unmeasured, 16), m.o.Interval)
	n.confirm.unmeasured++
	n.confirm.pending = append(n.confirm.pending, confirmStep{now.Add(pause), at})
	m.rouse()
}

// setStateLocked enters a state and tells it.
func (m *Mesh) setStateLocked(now time.Time, n *member, s core.State, why core.Reason, message string) {
	before := n.State
	n.State, n.Since, n.Reason, n.Message = s, now, why, message
	if s != core.StateSuspect {
		n.confirm = nil
		delete(m.confirming, n.ID)
	}
	switch s {
	case core.StateAlive:
		if before != core.StateSuspect {
			m.log.Info("node is alive", "node", n.ID.String(), "name", n.Name())
		}
	case core.StateDown:
		m.log.Warn("node is down", "node", n.ID.String(), "name", n.Name(), "reason", string(why), "message", message)
	case core.StateLeft:
		m.news = now
		m.log.Info("node left", "node", n.ID.String(), "name", n.Name())
	case core.StateQuarantined:
		m.log.Warn("node is quarantined", "node", n.ID.String(), "name", n.Name(), "message", message)
	}
	m.tellLocked(n)
	m.touchedLocked(n)
}

// tellLocked brings the journal in line with the state of n: down, left and
// quarantined begin an event, alive ends what lasted.
func (m *Mesh) tellLocked(n *member) {
	switch n.State {
	case core.StateAlive:
		m.endLocked(core.EventNodeState, n.ID)
		m.endLocked(core.EventNodeIdentity, n.ID)
	case core.StateDown:
		m.beginLocked(core.EventNodeState, n.ID, fmt.Sprintf("%s is down: %s", n.Name(), explain(n.Reason, n.Message)))
	case core.StateLeft:
		m.beginLocked(core.EventNodeState, n.ID, n.Name()+" left: it said goodbye")
	case core.StateQuarantined:
		m.beginLocked(core.EventNodeIdentity, n.ID, n.Message)
	}
}

func explain(why core.Reason, message string) string {
	switch {
	case message != "":
		return core.CleanText(message, 256)
	case why != "":
		return string(why)
	default:
		return "no answer"
	}
}
