package plugins

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/seahow-uk/nodeprobe/core"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

var (
	someKey  = core.KeyHash{1, 2, 3}
	someTime = time.Date(2026, 5, 4, 3, 2, 1, 5000, time.UTC)
)

func fullResult() core.Result {
	id := someKey.NodeID()
	other := core.KeyHash{9}.NodeID()
	return core.Result{
		Outcome: core.OutcomeFailure, Reason: "http_status", Message: "status 503", Took: 40 * time.Millisecond, RTT: 1234567,
		Stages:     []core.Stage{{Name: "dns", Took: 1}, {Name: "connect", Took: 2 * time.Millisecond}},
		Metrics:    []core.Metric{{Name: "loss_ratio", Value: 0.25}, {Name: "pmtu_bytes", Value: 1500}},
		Attributes: map[string]string{"tls_version": "1.3", "alpn": "h2"},
		Findings:   []core.Finding{{Kind: "mtu_black_hole", Message: "large packets vanish"}, {Kind: "pmtu_changed", Message: "1500 to 1400", Instant: true}},
		Documents:  []core.Document{{Name: "hops", ID: "a1", JSON: []byte(`{"hops":[]}`)}},
		Hint:       "segments are sent again",
		Learned: &core.Learned{
			Identity: &core.Identity{
				ID: id, Key: someKey, Proven: true, FQDN: "n1.example", Version: "2.0.0", BootID: "b", Port: 8443, NotBefore: someTime, NotAfter: someTime.Add(time.Hour),
				Services: []core.Service{{Name: "reflector", Port: 8444, Key: core.ServiceKey("key")}, {Name: "keyless", Port: 1}},
			},
			Peers: []core.PeerHint{{ID: other, FQDN: "n2.example", IP: "2001:db8::1", Port: 443, Active: true}},
			View: []core.PathStatus{
				{Source: id, Destination: other, Probe: "https", Outcome: core.OutcomeSuccess, RTT: 7, At: someTime, Metrics: []core.Metric{{Name: "loss_ratio", Value: 0.5}}},
				{Source: id, Destination: core.NodeID{7}, Probe: "https", Outcome: core.OutcomeFailure, Reason: "timeout", At: someTime},
			},
		},
	}
}

// wireResult is what a plugin would send of r.
func wireResult(r core.Result) *pluginv1.Result {
	out := &pluginv1.Result{
		Outcome: pluginv1.Outcome(r.Outcome), Reason: string(r.Reason), Message: r.Message, Started: timestamppb.New(someTime),
		Took: durationpb.New(r.Took), Rtt: durationpb.New(r.RTT), Attributes: wireAttributes(r.Attributes), Metrics: wireMetrics(r.Metrics),
		Hint: r.Hint,
	}
	for _, s := range r.Stages {
		out.Stages = append(out.Stages, &pluginv1.Stage{Name: s.Name, Took: durationpb.New(s.Took)})
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, &pluginv1.Finding{Kind: string(f.Kind), Message: f.Message, Instant: f.Instant})
	}
	for _, d := range r.Documents {
		out.Documents = append(out.Documents, &pluginv1.Document{Name: d.Name, Id: d.ID, Json: d.JSON})
	}
	if r.Learned != nil {
		out.Learned = wireLearned(r.Learned)
	}
	return out
}

func wireMetrics(ms []core.Metric) (out []*pluginv1.Metric) {
	for _, m := range ms {
		out = append(out, &pluginv1.Metric{Name: m.Name, Value: m.Value})
	}
	return out
}

func wireAttributes(all map[string]string) (out []*pluginv1.Attribute) {
	for name, value := range all {
		out = append(out, &pluginv1.Attribute{Name: name, Value: value})
	}
	return out
}

func wireLearned(l *core.Learned) *pluginv1.Learned {
	out := &pluginv1.Learned{}
	if i := l.Identity; i != nil {
		out.Identity = &pluginv1.Identity{
			NodeId: i.ID.String(), SpkiSha256: i.Key[:], Fqdn: i.FQDN, Version: i.Version, BootId: i.BootID, Port: uint32(i.Port),
			NotBefore: timestamppb.New(i.NotBefore), NotAfter: timestamppb.New(i.NotAfter),
			Services: servicesToProto(i.Services),
		}
	}
	for _, p := range l.Peers {
		out.Peers = append(out.Peers, &pluginv1.Peer{NodeId: p.ID.String(), Fqdn: p.FQDN, Ip: p.IP, Port: uint32(p.Port), Active: p.Active})
	}
	for _, v := range l.View {
		out.View = append(out.View, &pluginv1.View{
			NodeId: v.Destination.String(), Probe: v.Probe, Outcome: pluginv1.Outcome(v.Outcome), Reason: string(v.Reason),
			Rtt: durationpb.New(v.RTT), At: timestamppb.New(v.At), Metrics: wireMetrics(v.Metrics),
		})
	}
	return out
}

func TestResultRoundTrip(t *testing.T) {
	want := fullResult()
	want.Job = core.Job{ID: 5, Probe: "https", Due: someTime}
	f := flight{job: want.Job, sent: someTime.Add(3 * time.Second), id: 1}
	received := f.sent.Add(50 * time.Millisecond)
	want.Started, want.QueueDelay = f.sent.Add(10*time.Millisecond), 3*time.Second+10*time.Millisecond
	if got := resultOf(&f, answered(t, wireResult(want)), received); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// answered is what the host reads of m.
func answered(t *testing.T, m *pluginv1.Result) *answer {
	t.Helper()
	data, err := proto.Marshal(&pluginv1.ResultBatch{Results: []*pluginv1.Result{m}})
	if err != nil {
		t.Fatal(err)
	}
	message := newAnswers()
	if err := message.read(data); err != nil {
		t.Fatal(err)
	}
	return &message.list[0]
}

func TestJobToWire(t *testing.T) {
	slab := newJobSlab(2)
	services := []core.Service{{Name: "reflector", Port: 8444, Key: core.ServiceKey("key")}}
	j := core.Job{ID: 3, Probe: "https", Fresh: true, Identifies: true, PeerPort: 8443, Target: core.Target{Node: someKey.NodeID(), Endpoint: core.Endpoint{Host: "n1.example", Port: 8443}, Key: someKey, Services: services}}
	slab.add(99, &j, 1500*time.Millisecond, true)
	slab.add(100, &j, time.Second, false)
	want := &pluginv1.Job{
		Id: 99, Instance: "https", Fresh: true, Timeout: durationpb.New(1500 * time.Millisecond),
		Target: &pluginv1.Target{NodeId: j.Target.Node.String(), Host: "n1.example", Port: 8443, PeerPort: 8443, SpkiSha256: someKey[:], Services: []*pluginv1.Service{{Name: "reflector", Port: 8444, Key: []byte("key")}}},
	}
	if !proto.Equal(slab.jobs[0], want) {
		t.Errorf("got %v, want %v", slab.jobs[0], want)
	}
	if got := slab.jobs[1].GetTarget().GetServices(); got != nil {
		t.Errorf("got %v for a kind without the grant, want none", got)
	}
}

func TestHostileResultsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for _, tt := range []struct {
		name  string
		msg   *pluginv1.Result
		check func(core.Result) bool
	}{
		{"no outcome", &pluginv1.Result{}, func(r core.Result) bool { return r.Outcome == core.OutcomePluginError && r.Reason == "internal" }},
		{"unknown outcome", &pluginv1.Result{Outcome: 77}, func(r core.Result) bool { return r.Outcome == core.OutcomePluginError }},
		{"negative outcome", &pluginv1.Result{Outcome: -1}, func(r core.Result) bool { return r.Outcome == core.OutcomePluginError }},
		{"bad reason", &pluginv1.Result{Outcome: 2, Reason: "Not a word\n"}, func(r core.Result) bool { return r.Reason == "other" }},
		{"message", &pluginv1.Result{Outcome: 2, Message: "a\n\u202e" + long}, func(r core.Result) bool { return len(r.Message) <= 256 && strings.HasPrefix(r.Message, "a  x") }},
		{"hint", &pluginv1.Result{Outcome: 1, Hint: "a\n\u202e" + long}, func(r core.Result) bool { return len(r.Hint) <= 256 && strings.HasPrefix(r.Hint, "a  x") }},
		{"success has no reason", &pluginv1.Result{Outcome: 1, Reason: "timeout", Message: "m"}, func(r core.Result) bool { return r.Reason == "" && r.Message == "" }},
		{"NaN and infinite metrics", &pluginv1.Result{Outcome: 1, Metrics: []*pluginv1.Metric{{Name: "a", Value: math.NaN()}, {Name: "b", Value: math.Inf(1)}, {Name: "c", Value: math.Inf(-1)}, {Name: "d", Value: 1}, nil}}, func(r core.Result) bool { return len(r.Metrics) == 1 && r.Metrics[0].Name == "d" }},
		{"negative times", &pluginv1.Result{Outcome: 1, Took: durationpb.New(-5), Rtt: durationpb.New(-5)}, func(r core.Result) bool { return r.Took == 0 && r.RTT == 0 }},
		{"took longer than it can", &pluginv1.Result{Outcome: 1, Took: durationpb.New(time.Hour)}, func(r core.Result) bool { return r.Took == time.Second }},
		{"invalid duration", &pluginv1.Result{Outcome: 1, Rtt: &durationpb.Duration{Seconds: math.MaxInt64, Nanos: -7}}, func(r core.Result) bool { return r.RTT == 0 }},
		{"short key proves nothing", &pluginv1.Result{Outcome: 1, Learned: &pluginv1.Learned{Identity: &pluginv1.Identity{NodeId: core.KeyHash{}.NodeID().String(), SpkiSha256: []byte{1}}}}, func(r core.Result) bool { return !r.Learned.Identity.Proven && r.Learned.Identity.Key.IsZero() }},
		{"another's id is not proven", &pluginv1.Result{Outcome: 1, Learned: &pluginv1.Learned{Identity: &pluginv1.Identity{NodeId: core.NodeID{1}.String(), SpkiSha256: someKey[:]}}}, func(r core.Result) bool { return !r.Learned.Identity.Proven }},
		{"hostile services", &pluginv1.Result{Outcome: 1, Learned: &pluginv1.Learned{Identity: &pluginv1.Identity{Services: []*pluginv1.Service{
			{Name: "Up", Port: 1},
			{Name: strings.Repeat("x", 33), Port: 1},
			{Name: "no-port"},
			{Name: "far", Port: 70000},
			{Name: "key", Port: 1, Key: []byte(long)},
			nil,
			{Name: "good", Port: 1},
			{Name: "good", Port: 2},
			{Name: "ninth", Port: 9},
		}}}}, func(r core.Result) bool {
			return slices.Equal(r.Learned.Identity.Services, []core.Service{{Name: "good", Port: 1}})
		}},
		{"hostile findings", &pluginv1.Result{Outcome: 2, Findings: []*pluginv1.Finding{
			{Kind: "node_state"},
			{Kind: "Up"},
			{Kind: "with-hyphen"},
			{Kind: strings.Repeat("x", 65)},
			nil,
			{Kind: "good", Message: "a\n\u202e" + long},
			{Kind: "good", Message: "twice"},
			{Kind: "good", Instant: true},
			{Kind: "ninth"},
		}}, func(r core.Result) bool {
			return len(r.Findings) == 2 && strings.HasPrefix(r.Findings[0].Message, "a  x") && r.Findings[1].Instant
		}},
		{"no documents", &pluginv1.Result{Outcome: 1, Documents: []*pluginv1.Document{
			{Name: "list", Json: []byte(`[]`)}, {Name: "cut", Json: []byte(`{"a":`)}, {Name: "huge", Json: []byte(`{"a":"` + long + long + `"}`)}, {Name: "Bad", Json: []byte(`{}`)},
		}}, func(r core.Result) bool { return r.Documents == nil }},
		{"hostile documents", &pluginv1.Result{Outcome: 1, Documents: []*pluginv1.Document{
			{Name: "deep", Json: []byte(strings.Repeat(`{"a":`, 16) + "{}" + strings.Repeat("}", 16))},
			{Name: "latin", Json: []byte("{\"a\":\"\xe9\"}")},
			{Name: "good", Id: "i\n" + long, Json: []byte(` { "a" : "{[\"" } `)},
			{Name: "good", Json: []byte(`{}`)},
			{Name: "fifth", Json: []byte(`{}`)},
		}}, func(r core.Result) bool {
			return len(r.Documents) == 1 && string(r.Documents[0].JSON) == `{"a":"{[\""}` && len(r.Documents[0].ID) == 64
		}},
		{"document without id", &pluginv1.Result{Outcome: 1, Documents: []*pluginv1.Document{{Name: "a", Json: []byte(`{"x": 1}`)}, {Name: "b", Json: []byte(`{"x":1}`)}, {Name: "c", Json: []byte(`{}`)}}}, func(r core.Result) bool {
			d := r.Documents
			return len(d) == 3 && len(d[0].ID) == 32 && d[0].ID == d[1].ID && d[0].ID != d[2].ID
		}},
		{"view of nobody", &pluginv1.Result{Outcome: 1, Learned: &pluginv1.Learned{View: []*pluginv1.View{{NodeId: core.NodeID{1}.String(), Probe: "p", Outcome: 1}}}}, func(r core.Result) bool { return len(r.Learned.View) == 0 }},
		{"hostile peers", &pluginv1.Result{Outcome: 1, Learned: &pluginv1.Learned{Peers: []*pluginv1.Peer{{Fqdn: "h:9999/admin?x=1#"}, {Ip: "fe80::1%eth0"}, {Ip: "0177.1"}, {Ip: "::ffff:192.0.2.1", Port: 70000}, nil}}}, func(r core.Result) bool {
			return reflect.DeepEqual(r.Learned.Peers, []core.PeerHint{{IP: "192.0.2.1"}})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := flight{sent: someTime}
			got := resultOf(&f, answered(t, tt.msg), someTime.Add(time.Second))
			if !tt.check(got) {
				t.Errorf("got %+v, learned %+v", got, got.Learned)
			}
			checkBounds(t, got)
		})
	}
}

func checkBounds(t *testing.T, r core.Result) {
	t.Helper()
	bad := func(what string, v any) { t.Errorf("%s out of bounds: %v", what, v) }
	if r.Outcome < core.OutcomeSuccess || r.Outcome > core.OutcomePluginError {
		bad("outcome", r.Outcome)
	}
	if len(r.Message) > maxMessageText || r.Message != core.CleanText(r.Message, maxMessageText) || !utf8.ValidString(r.Message) {
		bad("message", r.Message)
	}
	if r.Took < 0 || r.RTT < 0 || r.RTT > maxRTT || r.QueueDelay < 0 {
		bad("times", []time.Duration{r.Took, r.RTT, r.QueueDelay})
	}
	if len(r.Stages) > maxStages || len(r.Metrics) > maxMetrics || len(r.Attributes) > maxAttributes {
		bad("counts", []int{len(r.Stages), len(r.Metrics), len(r.Attributes)})
	}
	for _, m := range r.Metrics {
		if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) || len(m.Name) > maxNameText {
			bad("metric", m)
		}
	}
	for k, v := range r.Attributes {
		if len(k) > maxNameText || len(v) > maxAttribute || v != core.CleanText(v, maxAttribute) {
			bad("attribute", k)
		}
	}
	if r.Learned != nil && (len(r.Learned.Peers) > maxPeers || len(r.Learned.View) > maxViews) {
		bad("learned", len(r.Learned.Peers))
	}
	if len(r.Findings) > maxFindings || len(r.Documents) > maxDocuments {
		bad("counts", []int{len(r.Findings), len(r.Documents)})
	}
	for _, f := range r.Findings {
		if !isSnake(string(f.Kind)) || f.Kind.Core() || f.Message != core.CleanText(f.Message, maxMessageText) {
			bad("finding", f)
		}
	}
	for _, d := range r.Documents {
		var parsed map[string]any
		if json.Unmarshal(d.JSON, &parsed) != nil || len(d.JSON) > maxDocumentBytes || d.ID == "" || len(d.ID) > maxNameText || !isSnake(d.Name) {
			bad("document", d)
		}
	}
	if r.Learned != nil && r.Learned.Identity != nil {
		if list := r.Learned.Identity.Services; len(list) > core.MaxServices {
			bad("services", len(list))
		}
		for _, s := range r.Learned.Identity.Services {
			if !core.ValidServiceName(s.Name) || s.Port == 0 || len(s.Key) > core.MaxServiceKey {
				bad("service", s.Name)
			}
		}
	}
}

// FuzzResult: whatever bytes a plugin sends, what comes out is bounded, and
// clean enough to survive a second passage unchanged.
func FuzzResult(f *testing.F) {
	data, err := proto.Marshal(wireResult(fullResult()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{})
	f.Add([]byte{0x08, 0xff, 0x10, 0x01, 0x22, 0x03, 0xe2, 0x80, 0xae})
	f.Fuzz(func(t *testing.T, data []byte) {
		var a, again answer
		reader := newAnswers()
		if reader.result(data, &a) != nil {
			return
		}
		if err := reader.result(data, &again); err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("the second time: %+v, %v, want %+v", again, err, a)
		}
		fl := flight{sent: someTime}
		first := resultOf(&fl, &a, someTime.Add(time.Minute))
		checkBounds(t, first)
		second := resultOf(&fl, answered(t, wireResult(first)), someTime.Add(time.Minute))
		if !reflect.DeepEqual(first.Learned, second.Learned) || !reflect.DeepEqual(first.Metrics, second.Metrics) ||
			!reflect.DeepEqual(first.Findings, second.Findings) || !reflect.DeepEqual(first.Documents, second.Documents) {
			t.Errorf("second passage differs:\n%+v\n%+v", first, second)
		}
	})
}

// FuzzDescribe: a plugin's self-description never panics and stays bounded.
func FuzzDescribe(f *testing.F) {
	data, err := proto.Marshal(&pluginv1.DescribeResponse{Name: "n", Probes: []*pluginv1.ProbeInfo{{Kind: "echo", ConfigSchema: []byte("{}"), Needs: []string{"identity"}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var msg pluginv1.DescribeResponse
		if proto.Unmarshal(data, &msg) != nil {
			return
		}
		got := describe(&msg)
		if len(got.Probes) > maxOffers || len(got.Reporters) > maxOffers || got.MaxInFlight > maxCredit {
			t.Errorf("out of bounds: %+v", got)
		}
	})
}

// FuzzLogLine: stderr is the plugin's to fill.
func FuzzLogLine(f *testing.F) {
	f.Add([]byte(`{"@level":"info","@message":"m","a":1}`))
	f.Add([]byte(`{"@level":"error","@message":"m","error":"e"}` + "\npanic: x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newLogSink(quiet(), 1000, new(countBytes))
		_, _ = s.Write(data)
		_, _ = s.Write(data)
		if len(s.tail) > tailBytes || len(s.partial) > maxLogLine+len(data) {
			t.Errorf("tail %d, partial %d bytes", len(s.tail), len(s.partial))
		}
		_ = withLastWords("ended", s)
	})
}
