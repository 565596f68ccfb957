package core

import "time"

// EventKind is what sort of thing began.
type EventKind string

// Kinds that core makes. Others may come from later probes.
const (
	EventNodeJoined     EventKind = "node_joined"       // first handshake; instantaneous
	EventNodeState      EventKind = "node_state"        // a peer is not alive; ends when it is again
	EventNodeIdentity   EventKind = "node_identity"     // another key at a pinned address; ends when the pinned one is back
	EventNodeExpired    EventKind = "node_expired"      // forgotten; instantaneous
	EventPluginProblem  EventKind = "plugin_problem"    // a plugin does not serve; ends when it does
	EventConfigRejected EventKind = "config_rejected"   // a changed file is bad; ends with a good one
	EventStorageProblem EventKind = "storage_problem"   // history is not being written
	EventHistoryDropped EventKind = "history_dropped"   // history goes before its time, for room; ends when it no longer does
	EventReportGap      EventKind = "report_gap"        // records dropped before a reporter took them; instantaneous
	EventNodeStarted    EventKind = "node_started"      // self; instantaneous
	EventConflict       EventKind = "identity_conflict" // one key runs at two places
)

// Core tells that k is a kind of core's own: no probe may report it.
func (k EventKind) Core() bool {
	switch k {
	case EventNodeJoined, EventNodeState, EventNodeIdentity, EventNodeExpired, EventPluginProblem, EventConfigRejected,
		EventStorageProblem, EventHistoryDropped, EventReportGap, EventNodeStarted, EventConflict:
		return true
	default:
		return false
	}
}

// Event is a state change with a beginning and an end.
type Event struct {
	// ID is given by the store, rising; 0 before.
	ID   uint64
	Kind EventKind
	// Subject is what it is about: a node id, a plugin's or reporter's name.
	// There is at most one open event per kind and subject.
	Subject string
	// Source is the probe that found it; empty for what core tells of itself.
	Source string
	// Message is one sentence for people.
	Message string
	Began   time.Time
	// Ended is zero while it lasts; equal to Began when it is instantaneous.
	Ended time.Time
}
