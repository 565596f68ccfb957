package core

import "time"

// RecordKind is what a record for a reporter carries.
type RecordKind string

// The kinds of records.
const (
	RecordSnapshot RecordKind = "snapshot"
	RecordResult   RecordKind = "result"
	RecordEvent    RecordKind = "event"
)

// Record is one thing to deliver. Payload is JSON in the shape of core/wire.
type Record struct {
	// Seq rises by record, may have gaps.
	Seq     uint64
	Kind    RecordKind
	At      time.Time
	Payload []byte
}

// Receipt is a reporter's answer.
type Receipt struct {
	// Through: everything up to it is durable at the receiver.
	Through uint64
	// Problem is empty when all was taken.
	Problem    string
	Retryable  bool
	RetryAfter time.Duration
}

// ReporterInfo describes a reporter instance that the host can feed.
type ReporterInfo struct {
	Name   string
	Plugin string
	Kind   string
	Wants  []RecordKind
}

// ReporterStatus is how the delivery to a reporter stands.
type ReporterStatus struct {
	Name, Plugin, Kind string
	// Backlog is the number of records it has not taken yet.
	Backlog int
	// Delivered counts the records it took since the process began.
	Delivered uint64
	// LastSuccess is zero when it has taken nothing yet.
	LastSuccess time.Time
	// LastError is empty when the last attempt went well.
	LastError string
	// NextTry is zero unless an attempt failed.
	NextTry time.Time
}

// Gap is a run of records that were dropped before a reporter took them.
type Gap struct {
	Reporter string
	// From and To are the first and the last sequence number dropped.
	From, To uint64
	Count    int
}

// Report is a network snapshot received from another node.
type Report struct {
	// Node is the sender's id as it says; Verified tells that its key proved it.
	Node     NodeID
	Verified bool
	// From is the address that the report came from.
	From     string
	Sent     time.Time
	Received time.Time
	Nodes    []ReportedNode
	Paths    []PathStatus
}

// ReportInfo is a Report without its lists.
type ReportInfo struct {
	Node     NodeID
	Verified bool
	From     string
	// Sent and Received are to the millisecond.
	Sent, Received       time.Time
	NodeCount, PathCount int
}

// ReportedNode is a node as a reporter sees it. ID is a string: the original
// also sends "seed-FQDN-IP" and "".
type ReportedNode struct {
	ID           string
	FQDN, IP     string
	Port         uint16
	DiscoveredBy string
	FirstSeen    time.Time
	LastSeen     time.Time
	Active       bool
}
