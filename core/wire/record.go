package wire

import (
	"encoding/json"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// Result is the record of one run, as reporters and the API get it.
type Result struct {
	Probe   string `json:"probe"`
	NodeID  string `json:"node_id,omitempty"` // absent when the target is not a known node
	Host    string `json:"host"`
	Port    uint16 `json:"port"`
	Trigger string `json:"trigger"` // schedule, confirm, discovery, manual
	// Occasion is why the run was made beside its interval.
	Occasion   string             `json:"occasion,omitempty"`
	Outcome    string             `json:"outcome"` // success, failure, unsupported, plugin_error
	Reason     string             `json:"reason,omitempty"`
	Message    string             `json:"message,omitempty"`
	At         time.Time          `json:"at"`
	QueueDelay int64              `json:"queue_delay_us"`
	Took       int64              `json:"took_us"`
	RTT        int64              `json:"rtt_us,omitempty"`
	Stages     []Stage            `json:"stages,omitempty"`
	Metrics    map[string]float64 `json:"metrics,omitempty"`
	Attributes map[string]string  `json:"attributes,omitempty"`
	Findings   []Finding          `json:"findings,omitempty"`
	Documents  []Document         `json:"documents,omitempty"`
	// Hint is what other probes should look into.
	Hint string `json:"hint,omitempty"`
}

// Finding is a condition on a path.
type Finding struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Instant bool   `json:"instant,omitempty"` // it has happened, and does not last
}

// Document is a fact with a structure.
type Document struct {
	Name string          `json:"name"`
	ID   string          `json:"id"` // another one is another version
	Body json.RawMessage `json:"body"`
}

// Stage is a named part of a run.
type Stage struct {
	Name string `json:"name"`
	Took int64  `json:"took_us"`
}

// NewResult converts r. What a run learned about the mesh is not part of it.
func NewResult(r core.Result) Result {
	out := Result{
		Probe: r.Job.Probe, NodeID: r.Job.Target.Node.String(),
		Host: r.Job.Target.Host, Port: r.Job.Target.Port, Trigger: triggerName(r.Job.Trigger), Occasion: string(r.Job.Occasion),
		Outcome: r.Outcome.String(), Reason: string(r.Reason), Message: r.Message,
		At: utc(r.At()), QueueDelay: Microseconds(r.QueueDelay), Took: Microseconds(r.Took),
		RTT: Microseconds(r.RTT), Metrics: metrics(r.Metrics), Attributes: r.Attributes, Hint: r.Hint,
	}
	for _, s := range r.Stages {
		out.Stages = append(out.Stages, Stage{Name: s.Name, Took: Microseconds(s.Took)})
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, Finding{string(f.Kind), f.Message, f.Instant})
	}
	for _, d := range r.Documents {
		out.Documents = append(out.Documents, Document{d.Name, d.ID, d.JSON})
	}
	return out
}

func triggerName(t core.Trigger) string {
	switch t {
	case core.TriggerConfirm:
		return "confirm"
	case core.TriggerDiscovery:
		return "discovery"
	case core.TriggerManual:
		return "manual"
	default:
		return "schedule"
	}
}

// EncodeResult is the payload of a record of kind result.
func EncodeResult(r core.Result) []byte { return encode(NewResult(r)) }

// Event is a state change, as reporters and the API get it.
type Event struct {
	ID      uint64 `json:"id"`
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
	// Source is the probe that found it; absent for what the node tells of itself.
	Source  string    `json:"source,omitempty"`
	Message string    `json:"message"`
	Began   time.Time `json:"began"`
	// Ended is null while it lasts, and equal to Began when it is instantaneous.
	Ended *time.Time `json:"ended"`
}

// NewEvent converts e.
func NewEvent(e core.Event) Event {
	out := Event{ID: e.ID, Kind: string(e.Kind), Subject: e.Subject, Source: e.Source, Message: e.Message, Began: utc(e.Began)}
	if !e.Ended.IsZero() {
		ended := utc(e.Ended)
		out.Ended = &ended
	}
	return out
}

// EncodeEvent is the payload of a record of kind event.
func EncodeEvent(e core.Event) []byte { return encode(NewEvent(e)) }
