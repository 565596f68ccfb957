package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func id(n byte) core.NodeID {
	return core.NodeID{0x5a, 0x3c, 0x9d, 0x52, 0x8a, 0x56, 0x4b, 0x1e, 0x9c, 0x0f, 0, 0, 0, 0, 0, n}
}

func at(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 678901234, time.UTC) }

func exampleSelf() core.Self {
	return core.Self{
		ID: id(1), Key: core.KeyHash{0xab}, FQDN: "node-1.example.net", Version: "1.0.0", BootID: "boot",
		Advertise: core.Endpoint{Host: "192.0.2.1", Port: 8443},
	}
}

func exampleNodes() []core.Node {
	return []core.Node{
		{ID: id(1), FQDN: "self", State: core.StateAlive},
		{
			ID: id(2), FQDN: "node-2.example.net", DiscoveredBy: "seed", State: core.StateAlive, FirstSeen: at(1), LastSeen: at(2),
			Endpoints: []core.Endpoint{{Host: "node-2.example.net", Port: 8444}, {Host: "192.0.2.2", Port: 8444}},
		},
		{
			ID: id(3), DiscoveredBy: id(2).String(), State: core.StateDown, FirstSeen: at(1).In(time.FixedZone("", 3600)),
			Endpoints: []core.Endpoint{{Host: "2001:db8::3", Port: 443}},
		},
	}
}

func examplePaths() []core.PathStatus {
	return []core.PathStatus{
		{
			Source: id(1), Destination: id(2), Probe: "https", Outcome: core.OutcomeSuccess, RTT: 1234500 * time.Nanosecond, At: at(3),
			Metrics: []core.Metric{{Name: "loss_ratio", Value: 0.25}, {Name: "odd_ratio", Value: math.NaN()}, {Name: "big_bytes", Value: math.Inf(1)}},
		},
		{Source: id(1), Destination: id(3), Probe: "https", Outcome: core.OutcomeFailure, Reason: "refused", Message: "connection refused", At: at(4)},
		{Source: id(2), Destination: id(1), Probe: "https", Outcome: core.OutcomeSuccess, At: at(4)},
	}
}

func TestGoldenShapes(t *testing.T) {
	result := core.Result{
		Job: core.Job{
			Probe: "https", Target: core.Target{Node: id(2), Endpoint: core.Endpoint{Host: "192.0.2.2", Port: 443}},
			Due: at(1), Trigger: core.TriggerConfirm,
		},
		Outcome: core.OutcomeFailure, Reason: core.ReasonTimeout, Message: "no answer", Started: at(2),
		QueueDelay: 1500 * time.Microsecond, Took: 8 * time.Second, RTT: time.Nanosecond,
		Stages:     []core.Stage{{Name: "connect", Took: time.Millisecond}},
		Metrics:    []core.Metric{{Name: "loss_ratio", Value: 1}},
		Attributes: map[string]string{"tls_version": "1.3"},
	}
	event := core.Event{ID: 7, Kind: core.EventNodeState, Subject: id(2).String(), Message: "node-2 is down: timeout", Began: at(5)}
	for name, got := range map[string][]byte{
		"nodeinfo":       NewNodeInfo(exampleSelf(), "192.0.2.1", exampleNodes(), examplePaths()).Encode(),
		"nodeinfo_empty": NewNodeInfo(core.Self{ID: id(1), Advertise: core.Endpoint{Host: "192.0.2.1", Port: 443}}, "192.0.2.1", nil, nil).Encode(),
		"snapshot":       EncodeSnapshot(exampleSelf(), at(9), exampleNodes(), examplePaths()),
		"result":         EncodeResult(result),
		"event":          EncodeEvent(event),
		"health":         encode(Health{NodeID: id(1).String(), Status: Healthy, Timestamp: at(1), Uptime: "1m0s", Seconds: 60, Checks: []Check{{Name: "database", Status: "ok"}}}),
	} {
		golden(t, "testdata/"+name+".json", got)
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", "  "); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	pretty.WriteByte('\n')
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, pretty.Bytes(), want)
	}
}

// TestSnapshotIsAReport: what a node sends is what another one takes.
func TestSnapshotIsAReport(t *testing.T) {
	r, err := DecodeReport(EncodeSnapshot(exampleSelf(), at(9), exampleNodes(), examplePaths()))
	if err != nil {
		t.Fatal(err)
	}
	got := r.Core("192.0.2.1", true, at(10))
	if got.Node != id(1) || !got.Sent.Equal(at(9)) || !got.Verified || len(got.Nodes) != 2 || len(got.Paths) != 2 {
		t.Fatalf("got %+v", got)
	}
	if p := got.Paths[0]; p.Source != id(1) || p.RTT != 1235*time.Microsecond || !reflect.DeepEqual(p.Metrics, []core.Metric{{Name: "loss_ratio", Value: 0.25}}) {
		t.Errorf("path: got %+v", p)
	}
	if n := got.Nodes[1]; n.FQDN != "2001:db8::3" || n.IP != "2001:db8::3" || n.Active || !n.LastSeen.IsZero() {
		t.Errorf("node without a name: got %+v", n)
	}
	if back := NewReportedNode(got.Nodes[0]); !reflect.DeepEqual(back, r.Nodes[0]) {
		t.Errorf("got %+v, want %+v", back, r.Nodes[0])
	}
}

func TestPortIsThatOfTheAddress(t *testing.T) {
	n := NewNode(core.Node{ID: id(2), Endpoints: []core.Endpoint{{Host: "node-2.example.net", Port: 443}, {Host: "192.0.2.2", Port: 8444}}})
	if n.IP != "192.0.2.2" || n.Port != 8444 || n.FQDN != "node-2.example.net" {
		t.Errorf("got %s, %s, port %d, want the port of the address", n.FQDN, n.IP, n.Port)
	}
}

// TestWhoDiscoveredACaller: the wire has seed, report and ids only.
func TestWhoDiscoveredACaller(t *testing.T) {
	nodes := []core.Node{{ID: id(2), DiscoveredBy: "caller"}, {ID: id(3), DiscoveredBy: "seed"}, {ID: id(4), DiscoveredBy: id(2).String()}}
	want := []string{id(1).String(), "seed", id(2).String()}
	for i, n := range NewNodeInfo(core.Self{ID: id(1)}, "", nodes, nil).Nodes {
		if n.DiscoveredBy != want[i] {
			t.Errorf("got %q, want %q", n.DiscoveredBy, want[i])
		}
	}
}

func TestTimesThatJSONCannotWrite(t *testing.T) {
	for _, year := range []int{-5, 0, 10000, 200000} {
		e := NewEvent(core.Event{Began: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)})
		if !e.Began.IsZero() {
			t.Errorf("year %d: got %v, want the zero time", year, e.Began)
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	nodes := make([]core.Node, MaxNodes+10)
	paths := make([]core.PathStatus, MaxPaths+10)
	for i := range nodes {
		nodes[i].ID = core.NodeID{1, byte(i >> 8), byte(i)}
	}
	for i := range paths {
		paths[i] = core.PathStatus{Source: id(1), Destination: id(2), Probe: "https", Outcome: core.OutcomeSuccess, At: at(1)}
	}
	info := NewNodeInfo(exampleSelf(), "192.0.2.1", nodes, paths)
	if len(info.Nodes) != MaxNodes || len(info.View) != MaxPaths {
		t.Errorf("nodeinfo: got %d nodes and %d paths", len(info.Nodes), len(info.View))
	}
	body := EncodeSnapshot(exampleSelf(), at(1), nodes, paths)
	if len(body) > MaxInflated {
		t.Errorf("snapshot: got %d bytes, want at most %d", len(body), MaxInflated)
	}
	if _, err := DecodeReport(body); err != nil {
		t.Errorf("the largest snapshot is refused: %v", err)
	}
}

// minimal is a report with extra text for its end.
func minimal(extra string) string {
	return `{"timestamp":"2026-01-02T03:04:05Z","node_id":"5a3c9d52-8a56-4b1e-9c0f-000000000001","nodes":[]` + extra + `}`
}

func TestDecodeReportTakes(t *testing.T) {
	path := `{"destination":"5a3c9d52-8a56-4b1e-9c0f-000000000002","probe":"https","outcome":"failure","reason":"timeout","message":"x","at":"2026-01-02T03:04:05Z"`
	for name, body := range map[string]string{
		"no nodes":         minimal(""),
		"null nodes":       strings.Replace(minimal(""), "[]", "null", 1),
		"unknown fields":   minimal(`,"features":["a",{"b":[1.5e3,null,true]}]`),
		"unknown names":    strings.Replace(minimal(""), "[]", `[{"fqdn":"unknown","ip":"unknown"}]`, 1),
		"nulls in a node":  strings.Replace(minimal(""), "[]", `[{"id":null,"fqdn":null,"port":null}]`, 1),
		"time with offset": strings.Replace(minimal(""), "05Z", "05.123456789+02:00", 1),
		"paths":            minimal(`,"paths":[` + path + `,"rtt_us":0,"metrics":{"loss_ratio":1}}]`),
	} {
		if _, err := DecodeReport([]byte(body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeReportRefusesPaths(t *testing.T) {
	const good = `"destination":"5a3c9d52-8a56-4b1e-9c0f-000000000002","probe":"https","outcome":"success","at":"2026-01-02T03:04:05Z"`
	for _, tt := range []struct{ from, to, want string }{
		{"5a3c9d52-8a56-4b1e-9c0f-000000000002", "node-2", "paths[0].destination: want a UUID"},
		{"https", "HTTPS", "paths[0].probe: want"},
		{"success", "fine", "paths[0].outcome: want success, failure, unsupported or plugin_error"},
		{"2026-01-02T03:04:05Z", "0001-01-01T00:00:00Z", "paths[0].at: want"},
		{`"at"`, `"reason":"a b","at"`, "paths[0].reason: want"},
		{`"at"`, `"rtt_us":-1,"at"`, "paths[0].rtt_us: want"},
		{`"at"`, `"rtt_us":1.5,"at"`, "paths.rtt_us: a number 1.5 is not what belongs here"},
		{`"at"`, `"metrics":{"loss ratio":1},"at"`, `field "loss ratio": field names are lower-case words`},
		{`"at"`, `"metrics":{"loss_ratio":"1"},"at"`, "metrics"},
		{`"at"`, `"metrics":{"loss_ratio":1e999},"at"`, "metrics"},
		{`"at"`, `"message":"` + strings.Repeat("m", 2000) + `","at"`, "paths[0].message: want at most"},
	} {
		body := minimal(`,"paths":[{` + strings.Replace(good, tt.from, tt.to, 1) + `}]`)
		if _, err := DecodeReport([]byte(body)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s for %s: got %v, want %q", tt.to, tt.from, err, tt.want)
		}
	}
}

func TestErrorsDoNotEchoBodies(t *testing.T) {
	long := strings.Repeat("A", 1<<20)
	for _, body := range []string{
		`{"` + long + `":1}`, `{"node_id":"` + long + `"}`, `{"timestamp":"` + long + `"}`, minimal(`,"nodes2":` + long),
		strings.Replace(minimal(""), "[]", `[{"fqdn":"`+long+`"}]`, 1), strings.Replace(minimal(""), "[]", long, 1),
	} {
		if _, err := DecodeReport([]byte(body)); err == nil || len(err.Error()) > 300 {
			t.Errorf("%.30q: got an error of %d bytes", body, len(err.Error()))
		}
	}
}

// FuzzDecodeReport: nothing crashes, and what is taken is within the limits,
// can be sent on, and means the same when it is read again.
func FuzzDecodeReport(f *testing.F) {
	f.Add(EncodeSnapshot(exampleSelf(), at(9), exampleNodes(), examplePaths()))
	for _, seed := range []string{
		minimal(""), "", "{", "[]", "null", `"x"`, "{}", minimal("") + "x", minimal(`,"node_id":""`), minimal(`,"a":[[[[]]]]`),
		`{"timestamp":17}`, minimal(`,"Node_ID":"x"`), minimal(`,"paths":[{"metrics":{"a":1e308}}]`),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeReport(data)
		if err != nil {
			if len(err.Error()) > 512 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if len(r.Nodes) > MaxNodes || len(r.Paths) > MaxPaths {
			t.Errorf("%d nodes, %d paths", len(r.Nodes), len(r.Paths))
		}
		first := r.Core("", false, time.Time{})
		if first.Node.IsZero() || first.Sent.UnixNano() < 0 {
			t.Errorf("got %+v", first)
		}
		again, err := DecodeReport(encode(r))
		if err != nil {
			t.Fatalf("what was taken is refused when it is sent on: %v\n%s", err, encode(r))
		}
		if second := again.Core("", false, time.Time{}); !sameReport(first, second) {
			t.Errorf("got %+v, then %+v", first, second)
		}
	})
}

// sameReport compares times as moments, not by their zone.
func sameReport(a, b core.Report) bool {
	left, _ := json.Marshal(a)
	right, _ := json.Marshal(b)
	return a.Sent.Equal(b.Sent) && len(a.Nodes) == len(b.Nodes) && len(a.Paths) == len(b.Paths) && len(left) == len(right)
}

func BenchmarkDecodeReport(b *testing.B) {
	body := EncodeSnapshot(exampleSelf(), at(9), exampleNodes(), examplePaths())
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeReport(body); err != nil {
			b.Fatal(err)
		}
	}
}
