package wire

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// MaxPaths is how many paths one message may carry: five probes for each of
// MaxNodes.
const MaxPaths = 5 * MaxNodes

// maxMetrics is how many metrics one path may carry.
const maxMetrics = 64

// maxRTT is over any round trip that a probe waits for.
const maxRTT = time.Hour

// Path is the latest result of one probe from the node that sends it to
// Destination.
type Path struct {
	Destination string             `json:"destination"`
	Probe       string             `json:"probe"`
	Outcome     string             `json:"outcome"` // success, failure, unsupported, plugin_error
	Reason      string             `json:"reason,omitempty"`
	Message     string             `json:"message,omitempty"`
	RTT         int64              `json:"rtt_us,omitempty"`
	Metrics     map[string]float64 `json:"metrics,omitempty"`
	At          time.Time          `json:"at"`
}

// NewPath converts p; its source is whoever sends it.
func NewPath(p core.PathStatus) Path {
	return Path{
		Destination: p.Destination.String(), Probe: p.Probe, Outcome: p.Outcome.String(),
		Reason: string(p.Reason), Message: p.Message, RTT: Microseconds(p.RTT),
		Metrics: metrics(p.Metrics), At: utc(p.At),
	}
}

// metrics leaves out what JSON cannot write: NaN and infinities.
func metrics(ms []core.Metric) map[string]float64 {
	if len(ms) == 0 {
		return nil
	}
	out := make(map[string]float64, len(ms))
	for _, m := range ms {
		if !math.IsNaN(m.Value) && !math.IsInf(m.Value, 0) {
			out[m.Name] = m.Value
		}
	}
	return out
}

// check tells the first field that is not as it must be, with what is expected.
func (p Path) check() (field, want string) {
	_, known := core.ParseOutcome(p.Outcome)
	switch {
	case !isUUID(p.Destination):
		return "destination", "a UUID"
	case !isWord(p.Probe, maxProbe):
		return "probe", "a name of at most 63 bytes of a-z 0-9 _ -"
	case !known:
		return "outcome", "success, failure, unsupported or plugin_error"
	case p.Reason != "" && !isWord(p.Reason, maxReason):
		return "reason", "a word of at most 64 bytes of a-z 0-9 _ -"
	case len(p.Message) > 4*maxMessage:
		return "message", "at most 1024 bytes"
	case p.RTT < 0 || p.RTT > maxRTT.Microseconds():
		return "rtt_us", "0 to 3600000000"
	case p.At.IsZero() || !storable(p.At):
		return "at", wantTime
	case len(p.Metrics) > maxMetrics:
		return "metrics", "at most 64"
	}
	for name := range p.Metrics {
		if !isWord(name, maxProbe) {
			return "metrics", "names of at most 63 bytes of a-z 0-9 _ -"
		}
	}
	return "", ""
}

// status converts a path that check has passed.
func (p Path) status(source core.NodeID) core.PathStatus {
	destination, _ := core.ParseNodeID(p.Destination)
	outcome, _ := core.ParseOutcome(p.Outcome)
	s := core.PathStatus{
		Source: source, Destination: destination, Probe: p.Probe, Outcome: outcome,
		Reason: core.Reason(p.Reason), Message: core.CleanText(p.Message, maxMessage),
		RTT: time.Duration(p.RTT) * time.Microsecond, At: p.At,
	}
	for _, name := range slices.Sorted(maps.Keys(p.Metrics)) {
		s.Metrics = append(s.Metrics, core.Metric{Name: name, Value: p.Metrics[name]})
	}
	return s
}
