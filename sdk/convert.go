package sdk

import (
	"encoding/json"
	"math"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// Bounds of what is sent, see Result. A text that is too long is cut.
const (
	maxStages      = 32
	maxMetrics     = 64
	maxAttributes  = 64
	maxPeers       = 2000
	maxViews       = 8000
	maxViewMetrics = 16
	maxName        = 64
	maxAttribute   = 512
	maxShortText   = 128
	maxHost        = 255
	keyBytes       = 32
)

// AnswerToProto is the message of an answer, within the bounds of Result. For
// hosts and tests.
func AnswerToProto(a *Answer) *pluginv1.Result {
	var batch pluginv1.ResultBatch
	if err := proto.Unmarshal(encode(a), &batch); err != nil {
		panic(err) // written a moment ago
	}
	return batch.Results[0]
}

// isMetric tells that a store and a chart can hold m.
func isMetric(m Metric) bool {
	return isWord(m.Name) && !math.IsNaN(m.Value) && !math.IsInf(m.Value, 0)
}

func metricsToProto(in []Metric, limit int) []*pluginv1.Metric {
	if len(in) == 0 {
		return nil
	}
	boxes, out := make([]pluginv1.Metric, min(len(in), limit)), make([]*pluginv1.Metric, 0, min(len(in), limit))
	for _, m := range in {
		if len(out) == limit {
			break
		}
		if !isMetric(m) {
			continue
		}
		b := &boxes[len(out)]
		b.Name, b.Value = m.Name, m.Value
		out = append(out, b)
	}
	return out
}

// isWord tells that s is like "loss_ratio": a-z first, then a-z, 0-9, "_", "." or
// "-", at most 64 bytes.
func isWord(s string) bool {
	if s == "" || len(s) > maxName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return true
}

func attributesFromProto(in []*pluginv1.Attribute) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for _, a := range in {
		out[a.GetName()] = a.GetValue()
	}
	return out
}

// AnswerFromProto is the reverse of [AnswerToProto]. For hosts and tests.
func AnswerFromProto(r *pluginv1.Result) Answer {
	a := Answer{
		JobID: r.GetJobId(), Outcome: Outcome(r.GetOutcome()), Reason: Reason(r.GetReason()), Message: r.GetMessage(),
		Started: timeFromProto(r.GetStarted()), Took: r.GetTook().AsDuration(),
	}
	a.Result = Result{
		RTT: r.GetRtt().AsDuration(), Attributes: attributesFromProto(r.GetAttributes()),
		Metrics: metricsFromProto(r.GetMetrics()), Learned: learnedFromProto(r.GetLearned()),
		Findings: findingsFromProto(r.GetFindings()), Documents: documentsFromProto(r.GetDocuments()), Hint: r.GetHint(),
	}
	for _, s := range r.GetStages() {
		a.Result.Stages = append(a.Result.Stages, Stage{s.GetName(), s.GetTook().AsDuration()})
	}
	return a
}

func metricsFromProto(in []*pluginv1.Metric) []Metric {
	var out []Metric
	for _, m := range in {
		out = append(out, Metric{m.GetName(), m.GetValue()})
	}
	return out
}

func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// timeFromProto is in UTC; absent and invalid are zero.
func timeFromProto(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	return t.AsTime()
}

func portFromProto(p uint32) uint16 {
	if p > math.MaxUint16 {
		return 0
	}
	return uint16(p)
}

// TargetToProto is a job's target. For hosts and tests.
func TargetToProto(t Target) *pluginv1.Target {
	return &pluginv1.Target{
		NodeId: t.NodeID, Host: t.Host, Port: uint32(t.Port), PeerPort: uint32(t.PeerPort),
		SpkiSha256: t.SPKI, Services: servicesToProto(t.Services),
	}
}

// targetOf is what the run of a job sees.
func targetOf(j *pluginv1.Job) Target {
	p := j.GetTarget()
	t := Target{
		NodeID: p.GetNodeId(), Host: p.GetHost(), Port: portFromProto(p.GetPort()), PeerPort: portFromProto(p.GetPeerPort()), Fresh: j.GetFresh(),
		Services: servicesFromProto(p.GetServices()), Occasion: Occasion(j.GetOccasion()),
	}
	if len(p.GetSpkiSha256()) > 0 {
		t.SPKI = p.GetSpkiSha256()
	}
	return t
}

// BatchToProto is what a reporter's instance gets. For hosts and tests.
func BatchToProto(instance string, b Batch) *pluginv1.Batch {
	out := &pluginv1.Batch{Instance: instance}
	for _, r := range b.Records {
		out.Records = append(out.Records, &pluginv1.Record{Seq: r.Seq, Kind: r.Kind, At: timeToProto(r.At), Payload: r.Payload})
	}
	return out
}

func batchFromProto(b *pluginv1.Batch) Batch {
	out := Batch{Records: make([]Record, len(b.GetRecords()))}
	for i, r := range b.GetRecords() {
		out.Records[i] = Record{r.GetSeq(), r.GetKind(), timeFromProto(r.GetAt()), json.RawMessage(r.GetPayload())}
	}
	return out
}

// NodeToProto is the node that hosts the plugin. For hosts and tests.
func NodeToProto(n NodeInfo) *pluginv1.NodeInfo {
	return &pluginv1.NodeInfo{Id: n.ID, Fqdn: n.FQDN, Version: n.Version, BootId: n.BootID, Advertise: n.Advertise, SpkiSha256: n.SPKI}
}

func nodeFromProto(n *pluginv1.NodeInfo) NodeInfo {
	return NodeInfo{n.GetId(), n.GetFqdn(), n.GetVersion(), n.GetBootId(), n.GetAdvertise(), n.GetSpkiSha256()}
}
