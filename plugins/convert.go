package plugins

import (
	"encoding/json"
	"math"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// Bounds of what a plugin may say. More is cut off, never an error: a chatty
// plugin must not lose its measurement.
const (
	maxMessageText = 256
	maxStages      = 32
	maxMetrics     = 64
	maxAttributes  = 64
	maxNameText    = 64
	maxAttribute   = 512
	maxPeers       = 2000
	maxViews       = 8000
	maxViewMetrics = 16
	maxShortText   = 128
	maxRTT         = time.Hour
	maxTook        = 24 * time.Hour
	maxOffers      = 64      // probes, and reporters, in one process
	maxSchema      = 1 << 18 // bytes of one JSON Schema
	maxCapability  = 32
)

// isWord tells that s is a name as kinds, capabilities and metrics have it:
// ^[a-z][a-z0-9_.-]{0,63}$.
func isWord(s string) bool {
	if s == "" || len(s) > maxNameText || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return true
}

// jobSlab makes the messages of a batch with three allocations.
type jobSlab struct {
	jobs      []*pluginv1.Job
	job       []pluginv1.Job
	target    []pluginv1.Target
	durations []durationpb.Duration
	keys      []core.KeyHash
}

func newJobSlab(n int) *jobSlab {
	return &jobSlab{
		jobs: make([]*pluginv1.Job, 0, n), job: make([]pluginv1.Job, n),
		target: make([]pluginv1.Target, n), durations: make([]durationpb.Duration, n),
		keys: make([]core.KeyHash, n),
	}
}

// add appends a job. The keys of the target's services go along only when told
// so: they are granted by kind.
func (s *jobSlab) add(id uint64, j *core.Job, timeout time.Duration, services bool) {
	i := len(s.jobs)
	out, t, d := &s.job[i], &s.target[i], &s.durations[i]
	d.Seconds, d.Nanos = int64(timeout/time.Second), int32(timeout%time.Second)
	t.NodeId, t.Host = j.Target.Node.String(), j.Target.Host
	// A peer's port is that of its HTTPS server: other probes have their own.
	if j.Identifies || j.Trigger == core.TriggerManual {
		t.Port = uint32(j.Target.Port)
	}
	t.PeerPort = uint32(j.PeerPort)
	if !j.Target.Key.IsZero() {
		s.keys[i] = j.Target.Key // j is cleared before the message is written
		t.SpkiSha256 = s.keys[i][:]
	}
	if services {
		t.Services = servicesToProto(j.Target.Services)
	}
	out.Id, out.Instance, out.Target, out.Timeout, out.Fresh, out.Occasion = id, j.Probe, t, d, j.Fresh, string(j.Occasion)
	s.jobs = append(s.jobs, out)
}

// resultOf makes the record of f's job from what the plugin answered. received
// is by the host's clock; the plugin's word counts only for how long it took.
func resultOf(f *flight, a *answer, received time.Time) core.Result {
	out := a.Result
	out.Job = f.job
	out.Took = min(out.Took, max(received.Sub(f.sent), 0))
	out.Started = received.Add(-out.Took)
	out.QueueDelay = queueDelay(f.job.Due, out.Started)
	return out
}

func queueDelay(due, started time.Time) time.Duration {
	if due.IsZero() {
		return 0
	}
	return max(started.Sub(due), 0)
}

// addRare adds what few results have: its protobuf is in fields.
func addRare(fields []byte, to *core.Result) error {
	if len(fields) == 0 && to.Outcome == core.OutcomeSuccess {
		return nil
	}
	var r pluginv1.Result
	if err := proto.Unmarshal(fields, &r); err != nil {
		return err
	}
	switch to.Outcome {
	case core.OutcomeSuccess:
	case 0:
		to.Outcome, to.Reason = core.OutcomePluginError, core.Reason(sdk.ReasonInternal)
		to.Message = "the plugin sent a result without a known outcome"
	default:
		to.Reason, to.Message = reasonOf(r.GetReason()), core.CleanText(r.GetMessage(), maxMessageText)
	}
	to.Findings, to.Documents = findingsOf(r.GetFindings()), documentsOf(r.GetDocuments())
	to.Hint = core.CleanText(r.GetHint(), maxMessageText)
	return nil
}

func outcomeOf(o pluginv1.Outcome) core.Outcome {
	if o < pluginv1.Outcome_OUTCOME_SUCCESS || o > pluginv1.Outcome_OUTCOME_PLUGIN_ERROR {
		return 0
	}
	return core.Outcome(o)
}

// reasons is the closed vocabulary: the SDK's words and, in the views of other
// nodes, the host's own.
var reasons = vocabulary()

func vocabulary() map[string]core.Reason {
	known := make(map[string]core.Reason)
	for _, r := range sdk.Reasons() {
		known[string(r)] = core.Reason(r)
	}
	for _, r := range []core.Reason{core.ReasonPluginUnavailable, core.ReasonPluginCrashed, core.ReasonPluginHung, core.ReasonPluginBusy} {
		known[string(r)] = r
	}
	return known
}

func reasonOf(s string) core.Reason {
	if r, ok := reasons[s]; ok {
		return r
	}
	return core.Reason(sdk.ReasonOther)
}

// bounded is d within 0 and limit; invalid durations are 0.
func bounded(d *durationpb.Duration, limit time.Duration) time.Duration {
	if d == nil || d.CheckValid() != nil {
		return 0
	}
	return min(max(d.AsDuration(), 0), max(limit, 0))
}

// orNil makes an empty list the same as none.
func orNil[E any](list []E) []E {
	if len(list) == 0 {
		return nil
	}
	return list
}

// metricsOf leaves out what no store and no chart can hold: a name that is not
// a word, NaN and the infinities.
func metricsOf(in []*pluginv1.Metric, limit int) []core.Metric {
	if len(in) == 0 {
		return nil
	}
	in = in[:min(len(in), limit)]
	out := make([]core.Metric, 0, len(in))
	for _, m := range in {
		if isMetric(m.GetName(), m.GetValue()) {
			out = append(out, core.Metric{Name: m.GetName(), Value: m.GetValue()})
		}
	}
	return orNil(out)
}

func isMetric(name string, v float64) bool {
	return isWord(name) && !math.IsNaN(v) && !math.IsInf(v, 0)
}

func learnedOf(in *pluginv1.Learned) *core.Learned {
	if in == nil {
		return nil
	}
	out := &core.Learned{Identity: identityOf(in.GetIdentity()), Peers: peersOf(in.GetPeers())}
	if out.Identity != nil && !out.Identity.ID.IsZero() {
		out.View = viewOf(out.Identity.ID, in.GetView())
	}
	return out
}

func identityOf(in *pluginv1.Identity) *core.Identity {
	if in == nil {
		return nil
	}
	out := &core.Identity{
		FQDN: hostName(in.GetFqdn()), Version: core.CleanText(in.GetVersion(), maxShortText),
		BootID: core.CleanText(in.GetBootId(), maxShortText), Port: portOf(in.GetPort()),
		NotBefore: timeOf(in.GetNotBefore()), NotAfter: timeOf(in.GetNotAfter()),
	}
	out.ID, _ = core.ParseNodeID(in.GetNodeId())
	if len(in.GetSpkiSha256()) == len(out.Key) {
		copy(out.Key[:], in.GetSpkiSha256())
	}
	out.Services = servicesOf(in.GetServices())
	out.Proven = !out.Key.IsZero() && out.Key.NodeID() == out.ID
	return out
}

// peersOf leaves out hints that cannot be dialled.
func peersOf(in []*pluginv1.Peer) []core.PeerHint {
	if len(in) == 0 {
		return nil
	}
	in = in[:min(len(in), maxPeers)]
	out := make([]core.PeerHint, 0, len(in))
	for _, p := range in {
		hint := core.PeerHint{FQDN: hostName(p.GetFqdn()), IP: address(p.GetIp()), Port: portOf(p.GetPort()), Active: p.GetActive()}
		hint.ID, _ = core.ParseNodeID(p.GetNodeId())
		if hint.FQDN != "" || hint.IP != "" {
			out = append(out, hint)
		}
	}
	return orNil(out)
}

func viewOf(source core.NodeID, in []*pluginv1.View) []core.PathStatus {
	if len(in) == 0 {
		return nil
	}
	in = in[:min(len(in), maxViews)]
	out := make([]core.PathStatus, 0, len(in))
	for _, v := range in {
		to, err := core.ParseNodeID(v.GetNodeId())
		outcome := outcomeOf(v.GetOutcome())
		if err != nil || to.IsZero() || outcome == 0 || !isWord(v.GetProbe()) {
			continue
		}
		cell := core.PathStatus{
			Source: source, Destination: to, Probe: v.GetProbe(), Outcome: outcome,
			RTT: bounded(v.GetRtt(), maxRTT), At: timeOf(v.GetAt()), Metrics: metricsOf(v.GetMetrics(), maxViewMetrics),
		}
		if outcome != core.OutcomeSuccess {
			cell.Reason = reasonOf(v.GetReason())
		}
		out = append(out, cell)
	}
	return orNil(out)
}

func hostName(s string) string {
	if !core.ValidHostName(s) {
		return ""
	}
	return s
}

func address(s string) string {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return ""
	}
	return ip.Unmap().String()
}

func portOf(p uint32) uint16 {
	if p > math.MaxUint16 {
		return 0
	}
	return uint16(p)
}

// timeOf is in UTC; invalid is zero.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil || t.CheckValid() != nil {
		return time.Time{}
	}
	return t.AsTime()
}

// batchOf is what a reporter gets.
func batchOf(reporter string, recs []core.Record) *pluginv1.Batch {
	b := &pluginv1.Batch{Instance: reporter, Records: make([]*pluginv1.Record, len(recs))}
	for i, r := range recs {
		b.Records[i] = &pluginv1.Record{Seq: r.Seq, Kind: string(r.Kind), At: timestamppb.New(r.At), Payload: r.Payload}
	}
	return b
}

// receiptOf never acknowledges more than was sent.
func receiptOf(r *pluginv1.Receipt, recs []core.Record) core.Receipt {
	out := core.Receipt{
		Through: r.GetThrough(), Problem: core.CleanText(r.GetProblem(), maxMessageText),
		Retryable: r.GetRetryable(), RetryAfter: bounded(r.GetRetryAfter(), 24*time.Hour),
	}
	if n := len(recs); n > 0 {
		out.Through = min(out.Through, recs[n-1].Seq)
	}
	return out
}

// describe makes a Description from the plugin's word; offers with a kind that
// is not a word are left out.
func describe(in *pluginv1.DescribeResponse) Description {
	out := Description{
		Name: core.CleanText(in.GetName(), maxNameText), Version: core.CleanText(in.GetVersion(), maxShortText),
		MaxInFlight: int(min(in.GetMaxInFlight(), maxCredit)),
	}
	for _, p := range in.GetProbes()[:min(len(in.GetProbes()), maxOffers)] {
		if isWord(p.GetKind()) {
			out.Probes = append(out.Probes, ProbeKind{
				Offer:    offerOf(p),
				Interval: bounded(p.GetDefaultInterval(), 24*time.Hour), Timeout: bounded(p.GetDefaultTimeout(), 24*time.Hour),
				Identifies: p.GetIdentifies(), Occasions: occasionsOf(p.GetOccasions()),
			})
		}
	}
	for _, r := range in.GetReporters()[:min(len(in.GetReporters()), maxOffers)] {
		if isWord(r.GetKind()) {
			out.Reporters = append(out.Reporters, ReporterKind{Offer: offerOf(r), Wants: wantsOf(r.GetWants())})
		}
	}
	return out
}

func offerOf(in interface {
	GetKind() string
	GetVersion() string
	GetSummary() string
	GetConfigSchema() []byte
	GetNeeds() []string
},
) Offer {
	out := Offer{
		Kind: in.GetKind(), Version: core.CleanText(in.GetVersion(), maxShortText),
		Summary: core.CleanText(in.GetSummary(), maxMessageText),
	}
	if s := in.GetConfigSchema(); len(s) <= maxSchema && json.Valid(s) {
		out.Schema = json.RawMessage(s)
	}
	for _, c := range in.GetNeeds()[:min(len(in.GetNeeds()), maxCapability)] {
		if isWord(c) {
			out.Needs = append(out.Needs, c)
		}
	}
	return out
}

func wantsOf(in []string) []core.RecordKind {
	var out []core.RecordKind
	for _, kind := range []core.RecordKind{core.RecordSnapshot, core.RecordResult, core.RecordEvent} {
		for _, want := range in {
			if want == string(kind) {
				out = append(out, kind)
				break
			}
		}
	}
	return out
}
