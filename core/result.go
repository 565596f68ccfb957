package core

import (
	"strings"
	"time"
)

// Outcome is what kind of answer a run gave.
type Outcome uint8

// The outcomes. Only success and failure say something about the target.
const (
	OutcomeSuccess     Outcome = 1 // the target answered as it should
	OutcomeFailure     Outcome = 2 // the target did not
	OutcomeUnsupported Outcome = 3 // it cannot be measured here
	OutcomePluginError Outcome = 4 // the plugin broke
)

var outcomeNames = [...]string{"", "success", "failure", "unsupported", "plugin_error"}

// String is the name used in the API.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return ""
}

// ParseOutcome reads what String writes; ok is false for anything else.
func ParseOutcome(s string) (o Outcome, ok bool) {
	for i, name := range outcomeNames {
		if i > 0 && name == s {
			return Outcome(i), true
		}
	}
	return 0, false
}

// Reason is one word for why a run did not succeed: a closed vocabulary, the
// same as sdk.Reason, plus the plugin_* words of the host.
type Reason string

// The reasons that core itself branches on or makes. The others come from the SDK.
const (
	ReasonTimeout           Reason = "timeout"
	ReasonIdentity          Reason = "identity"           // another key, id or node than expected
	ReasonPluginUnavailable Reason = "plugin_unavailable" // not running, starting or disabled
	ReasonPluginCrashed     Reason = "plugin_crashed"     // the process ended with the job in hand
	ReasonPluginHung        Reason = "plugin_hung"        // no answer within deadline and grace
	ReasonPluginBusy        Reason = "plugin_busy"        // its queue is full
)

// Trigger tells why a job was made.
type Trigger uint8

// The triggers.
const (
	TriggerSchedule  Trigger = iota // its turn came
	TriggerConfirm                  // a miss is being confirmed
	TriggerDiscovery                // a candidate or a faster look at a peer's list
	TriggerManual                   // somebody asked; not stored
)

// Target is what a run aims at.
type Target struct {
	// Node is zero when the target is not a known node.
	Node NodeID
	Endpoint
	// Key that the target must show; zero: nothing is pinned.
	Key KeyHash
	// Services of the node, with the keys for self. Results have none.
	Services []Service
}

// Job is one run of one probe at one target.
type Job struct {
	// ID is unique in the life of the process; given by the engine.
	ID uint64
	// Probe is the name of the probe's instance, "https".
	Probe  string
	Target Target
	// Due is when the run should have begun; Timeout is counted from submission.
	Due     time.Time
	Timeout time.Duration
	Trigger Trigger
	// Occasion is why the run is beside the schedule; empty otherwise.
	Occasion Occasion
	// Fresh asks for a new connection.
	Fresh bool
	// Identifies tells that the probe proves who the target is; set by the engine.
	Identifies bool
	// PeerPort is where a known node's HTTPS server is dialled, whatever the port of
	// the target; set by the engine.
	PeerPort uint16
}

// Stage is a named part of a run.
type Stage struct {
	Name string
	Took time.Duration
}

// Metric is a named value; the name ends in its unit ("loss_ratio").
type Metric struct {
	Name  string
	Value float64
}

// Result is the record of a job. Every job gets exactly one.
type Result struct {
	Job     Job
	Outcome Outcome
	Reason  Reason
	// Message is one sentence for people, at most 256 bytes, free of control
	// characters; empty on success.
	Message string
	// Started is when the plugin began, by the host's clock; zero when it never did.
	Started time.Time
	// QueueDelay is from Due to Started: never part of RTT.
	QueueDelay time.Duration
	Took       time.Duration
	// RTT is network round-trip time; 0 means not measured.
	RTT        time.Duration
	Stages     []Stage
	Metrics    []Metric
	Attributes map[string]string
	Learned    *Learned
	Findings   []Finding
	Documents  []Document
	// Hint is what other probes should look into, one sentence for people; empty:
	// nothing.
	Hint string
}

// Finding is a condition that a run found on the path to its target.
type Finding struct {
	// Kind is a word of [a-z0-9_]; none of core's own, see [EventKind.Core].
	Kind    EventKind
	Message string
	// Instant: it has happened, and does not last.
	Instant bool
}

// Document is a fact with a structure that a run found out, a JSON object.
type Document struct {
	Name string
	// ID tells versions apart; never empty.
	ID   string
	JSON []byte
	// Changed tells that this process has not had it as the latest of its name.
	Changed bool
}

// At is when the result counts: its start, or when it was due.
func (r Result) At() time.Time {
	if r.Started.IsZero() {
		return r.Job.Due
	}
	return r.Started
}

// AboutTarget tells that the result says something about the target.
func (r Result) AboutTarget() bool {
	return r.Outcome == OutcomeSuccess || r.Outcome == OutcomeFailure
}

// Learned is what a run found out about the mesh.
type Learned struct {
	// Identity is nil when no handshake was completed.
	Identity *Identity
	Peers    []PeerHint
	View     []PathStatus
}

// Identity is what a handshake proved and the proven node says of itself.
type Identity struct {
	ID      NodeID
	Key     KeyHash
	Proven  bool
	FQDN    string
	Version string
	BootID  string
	// Port the node says it listens on; 0 when it does not say.
	Port                uint16
	NotBefore, NotAfter time.Time
	// Services the node runs, with the keys for self; of no use but to Observe.
	Services []Service
}

// PeerHint is hearsay about another node: never shown, never passed on.
type PeerHint struct {
	ID     NodeID
	FQDN   string
	IP     string
	Port   uint16
	Active bool
}

// PathStatus is the latest result of one probe on one path: a cell of the
// matrix. For self's own paths Source is self.
type PathStatus struct {
	Source      NodeID
	Destination NodeID
	Probe       string
	Outcome     Outcome
	Reason      Reason
	Message     string
	RTT         time.Duration
	Metrics     []Metric
	At          time.Time
}

// CleanText makes s fit for logs, tables and pages: control and bidirectional
// formatting characters become spaces, and it is cut at most bytes on a rune's
// edge.
func CleanText(s string, most int) string {
	if len(s) <= most && isPlain(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0,
			r == 0x061c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xc0 == 0x80 {
		most--
	}
	return s[:most]
}

// isPlain tells that s is printable ASCII, as nearly every text is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
