package sdk

import "time"

// Outcome is what kind of answer a run gave. Authors meet it in [PathView] only:
// the outcome of a run follows from its error.
type Outcome uint8

// The outcomes. Only success and failure say something about the target.
const (
	OutcomeSuccess     Outcome = 1 // the target answered as it should
	OutcomeFailure     Outcome = 2 // the target did not
	OutcomeUnsupported Outcome = 3 // it cannot be measured here
	OutcomePluginError Outcome = 4 // the plugin broke
)

// String is the name used in NodeProbe's API; empty for anything else.
func (o Outcome) String() string {
	switch o {
	case OutcomeSuccess:
		return "success"
	case OutcomeFailure:
		return "failure"
	case OutcomeUnsupported:
		return "unsupported"
	case OutcomePluginError:
		return "plugin_error"
	default:
		return ""
	}
}

// Result is what a run measured. The zero value is a success without figures.
// Texts are made fit for transport: at most 64 bytes for names, 512 for values of
// attributes, valid UTF-8. At most 32 stages, 64 metrics, 64 attributes, 2,000
// peers and 8,000 cells of a view are kept; a metric that is NaN, infinite or not
// named like "loss_ratio" is left out.
type Result struct {
	// RTT is network round-trip time, without the time that the target took to
	// serve; 0 means not measured.
	RTT time.Duration
	// Stages are the named parts of the run, in order.
	Stages []Stage
	// Metrics may have any name that ends in its unit: "pmtu_bytes",
	// "loss_ratio", "jitter_seconds". A new name needs no further work.
	Metrics []Metric
	// Attributes are facts that are not numbers.
	Attributes map[string]string
	// Learned is for probes that talk to other nodes of the mesh; else nil.
	Learned *Learned
	// Findings are conditions on the path to the target, at most 8; those without a
	// proper kind are left out.
	Findings []Finding
	// Documents are facts with a structure, at most 4; what is no JSON object of at
	// most 16 KiB is left out.
	Documents []Document
	// Hint is what the run met and others should look into, one sentence of at most
	// 256 bytes: "segments are sent again". The other probes that ask for
	// [OccasionHint] run at this target now. Empty: nothing.
	Hint string
}

// Stage is a named part of a run.
type Stage struct {
	Name string
	Took time.Duration
}

// Metric is a named value in the unit that its name ends in.
type Metric struct {
	Name  string
	Value float64
}

// Learned is what a run found out about the mesh.
type Learned struct {
	// Identity is nil when no handshake was completed.
	Identity *Identity
	// Peers and View are what the target says of others: hearsay, never proof.
	Peers []PeerHint
	View  []PathView
}

// Identity is what the handshake proved, and what the proven node says of itself.
type Identity struct {
	NodeID string
	// SPKI is the SHA-256 of the SubjectPublicKeyInfo shown, 32 bytes.
	SPKI    []byte
	FQDN    string
	Version string
	BootID  string
	// Port that the node says it listens on; 0 when it does not say.
	Port uint16
	// NotBefore and NotAfter are the times of the certificate.
	NotBefore, NotAfter time.Time
	// Services that the node runs, with the keys for self. The host takes them
	// from a probe that [Identifies]; at most 8.
	Services []Service
}

// PeerHint is another node that the target names.
type PeerHint struct {
	NodeID string
	FQDN   string
	IP     string
	Port   uint16
	Active bool
}

// PathView is one path that the target measures: a cell of its row of the matrix.
type PathView struct {
	// NodeID is the other end of the path.
	NodeID  string
	Probe   string
	Outcome Outcome
	Reason  Reason
	// RTT is 0 when not measured.
	RTT     time.Duration
	At      time.Time
	Metrics []Metric
}
