package web

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// api answers a GET below /api/v1 from a mesh of two peers.
func api(f *fakes, path string) answer {
	return serve(newServer(f, &core.Hub{}).Handler(), "127.0.0.1:1", "GET", "/api/v1/"+path, "")
}

func TestSummary(t *testing.T) {
	healthy := func(f *fakes) { f.nodes = f.nodes[:1] }
	for _, tt := range []struct {
		name    string
		change  func(*fakes)
		state   string
		problem string
	}{
		{"all well", healthy, meshOK, ""},
		{"no peer yet", func(f *fakes) { f.nodes = nil }, meshWaiting, ""},
		{"wrong seed", func(f *fakes) { f.nodes, f.seeds = nil, []string{"seed a:443 does not answer: dns"} }, meshProblem, "seed a:443 does not answer: dns"},
		{"peer down", func(*fakes) {}, meshProblem, "192.0.2.2 is down: connection refused"},
		{"plugin broken", func(f *fakes) { healthy(f); f.plugins[0].Problem = "is not well: no socket" }, meshProblem, "plugin https is not well: no socket"},
		{"plugin gone, told once", func(f *fakes) {
			healthy(f)
			f.plugins = append(f.plugins, core.PluginStatus{Name: "report", State: core.PluginBackoff, Problem: "ended"})
			f.status[0].LastError = "plugin unavailable"
			f.health.Checks[2].Problem = "report waits to be started again: ended"
		}, meshProblem, "plugin report waits to be started again: ended"},
		{"reporter stuck", func(f *fakes) { healthy(f); f.status[0].LastError = "503" }, meshProblem, "reporter snapshot: 503"},
		{"disk full", func(f *fakes) { healthy(f); f.health.Checks[0].Problem = "disk is full" }, meshProblem, "database: disk is full"},
		{"something found", func(f *fakes) {
			healthy(f)
			f.found = []core.OpenFinding{{Node: f.nodes[0].ID, Probe: "a", Kind: "hole", Message: "large packets vanish"}, {Node: f.nodes[0].ID, Probe: "b", Kind: "hole", Message: "the same"}, {Node: f.nodes[0].ID, Probe: "b", Kind: "other"}}
		}, meshProblem, "path to node-1.example.net: large packets vanish; path to node-1.example.net: other"},
		{"nobody looked", func(f *fakes) { healthy(f); f.health.Checks = nil }, meshProblem, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := twoNodes(testSelf.ID)
			tt.change(f)
			got := decode[summaryJSON](t, api(f, "summary"))
			if got.State != tt.state || strings.Join(got.Problems, "; ") != tt.problem {
				t.Errorf("got %s %q, want %s %q", got.State, got.Problems, tt.state, tt.problem)
			}
			if got.Nodes.Total != len(f.nodes) || got.Self.ID != testSelf.ID || got.Plugins.Running != 1 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestSummaryTellsStorage(t *testing.T) {
	f := twoNodes(testSelf.ID)
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.stored = core.Storage{Bytes: 5, MaxBytes: 10, Results: since, RawPerDay: 7, Raw: 24 * time.Hour, RawFits: 9 * time.Hour, Dropped: 3, LastDrop: since}
	got := decode[summaryJSON](t, api(f, "summary")).Storage
	if got == nil || got.Bytes != 5 || got.RawSince == nil || got.RollupSince != nil || got.RawFits != 32400 || got.DroppedRows != 3 {
		t.Errorf("got %+v", got)
	}
	f.down = errDown
	if got := decode[summaryJSON](t, api(f, "summary")).Storage; got != nil {
		t.Errorf("not readable: got %+v, want null", got)
	}
}

func TestNodes(t *testing.T) {
	got := decode[nodesJSON](t, api(twoNodes(testSelf.ID), "nodes"))
	if len(got.Nodes) != 2 || got.Nodes[0].Name != "192.0.2.2" || got.Nodes[1].Name != "node-1.example.net" {
		t.Fatalf("got %+v, want two nodes by name", got.Nodes)
	}
	down, alive := got.Nodes[0], got.Nodes[1]
	if down.LastSeen != nil || down.FirstSeen != nil || down.IsActive || len(down.Paths) != 1 || down.Paths[0].RTT != 0 {
		t.Errorf("a node never seen: got %+v, want no times and no RTT", down)
	}
	if alive.LastSeen == nil || !alive.IsActive || alive.Paths[0].RTT != 1234 || alive.Endpoints[0] != "192.0.2.1:8443" {
		t.Errorf("got %+v", alive)
	}
	one := decode[nodeJSON](t, api(twoNodes(testSelf.ID), "nodes/"+nodeID(1).String()))
	if one.ID != nodeID(1) || len(one.Paths) != 1 {
		t.Errorf("one node: got %+v", one)
	}
}

func TestNodesTellWhichPathIdentifies(t *testing.T) {
	f := twoNodes(testSelf.ID)
	f.view = slices.Insert(f.view, 0, core.PathStatus{Source: testSelf.ID, Destination: nodeID(1), Probe: "a-stamp", RTT: time.Second})
	for _, n := range []nodeJSON{
		decode[nodesJSON](t, api(f, "nodes")).Nodes[1],
		decode[nodeJSON](t, api(f, "nodes/"+nodeID(1).String())),
	} {
		for _, p := range n.Paths {
			if p.Identifies != (p.Probe == "https") {
				t.Errorf("%s: got identifies %t", p.Probe, p.Identifies)
			}
		}
		if len(n.Paths) != 2 {
			t.Errorf("got %d paths, want 2", len(n.Paths))
		}
	}
}

func TestFindingsOfNodes(t *testing.T) {
	f := twoNodes(testSelf.ID)
	f.attributes = map[string]map[string]string{nodeID(1).String() + "https": {"tls_version": "1.3"}}
	f.found = []core.OpenFinding{{Node: nodeID(1), Probe: "pmtu", Kind: "hole", Message: "m", Since: time.Unix(1, 0)}}
	want := []findingJSON{{"pmtu", "hole", "m", time.Unix(1, 0).UTC()}}
	got := decode[nodesJSON](t, api(f, "nodes"))
	if got.Nodes[1].Paths[0].Attributes != nil {
		t.Error("got attributes in the list: it is read often")
	}
	if got.Nodes[0].Findings != nil || !slices.Equal(got.Nodes[1].Findings, want) {
		t.Errorf("got %+v and %+v, want none and %+v", got.Nodes[0].Findings, got.Nodes[1].Findings, want)
	}
	if one := decode[nodeJSON](t, api(f, "nodes/"+nodeID(1).String())); !slices.Equal(one.Findings, want) || one.Paths[0].Attributes["tls_version"] != "1.3" {
		t.Errorf("one node: got %+v and %+v, want %+v and the attributes", one.Findings, one.Paths, want)
	}
}

func TestDocuments(t *testing.T) {
	f := twoNodes(testSelf.ID)
	at := time.Unix(1000, 0).UTC()
	doc := core.Document{Name: "hops", ID: "v2", JSON: []byte(`{"hops":["192.0.2.9"]}`)}
	f.documents = []core.StoredDocument{{Document: doc, Node: nodeID(1), Probe: "trace", At: at.Add(time.Minute)}, {Document: doc, Probe: "trace", At: at, Until: at.Add(time.Minute)}}
	a := api(f, "nodes/"+nodeID(1).String()+"/documents?name=hops&limit=5")
	got := decode[documentsJSON](t, a)
	if len(got.Documents) != 2 || got.Documents[0].Until != nil || !got.Documents[1].Until.Equal(at.Add(time.Minute)) || string(got.Documents[0].Body) != string(doc.JSON) {
		t.Errorf("got %s", a.body)
	}
	if want := (core.DocumentQuery{Node: nodeID(1), Name: "hops", Limit: 5}); f.sought[0] != want {
		t.Errorf("asked for %+v, want %+v", f.sought[0], want)
	}
	for _, path := range []string{"nodes/" + nodeID(9).String() + "/documents", "nodes/" + nodeID(1).String() + "/documents?name=A%20B", "nodes/" + nodeID(1).String() + "/documents?limit=0"} {
		if a := api(f, path); a.status != 404 && a.status != 400 {
			t.Errorf("%s: got %d, want a refusal", path, a.status)
		}
	}
}

func TestMatrix(t *testing.T) {
	got := decode[matrixJSON](t, api(twoNodes(testSelf.ID), "matrix"))
	if len(got.Nodes) != 3 || len(got.Rows) != 3 || got.Probe != "https" || got.StaleAfter != 90 || got.Unknown != 1 {
		t.Fatalf("got %+v", got)
	}
	const down, alive, self = 0, 1, 2
	if !got.Nodes[self].Self || got.Nodes[alive].ID != nodeID(1) || got.Nodes[alive].Address != "192.0.2.1:8443" || got.Nodes[self].Address != "192.0.2.42:8443" {
		t.Fatalf("order: got %+v", got.Nodes)
	}
	if c := got.Rows[self][alive]; c == nil || c.Outcome != "success" || c.RTT != 1234 {
		t.Errorf("self to the peer: got %+v, want what is in memory, not the stored failure", c)
	}
	if c := got.Rows[self][down]; c == nil || c.Outcome != "failure" || c.RTT != 0 {
		t.Errorf("self to the peer that is down: got %+v", c)
	}
	if c := got.Rows[alive][self]; c == nil || c.RTT != 2000 {
		t.Errorf("the peer's view of self: got %+v", c)
	}
	if got.Rows[down][alive] != nil || got.Rows[self][self] != nil {
		t.Error("something was made of what nobody measured")
	}
	other := decode[matrixJSON](t, api(twoNodes(testSelf.ID), "matrix?probe=stamp"))
	for _, row := range other.Rows {
		for _, c := range row {
			if c != nil {
				t.Errorf("another probe: got %+v, want nothing", c)
			}
		}
	}
}

func TestMatrixOfAMetric(t *testing.T) {
	f := twoNodes(testSelf.ID)
	mtu := func(from, to core.NodeID, v float64) core.PathStatus {
		return core.PathStatus{Source: from, Destination: to, Probe: "pmtu", Outcome: core.OutcomeSuccess, At: time.Now(), Metrics: []core.Metric{
			{Name: "pmtu_forward_bytes", Value: v}, {Name: "odd.name", Value: math.Inf(1)},
		}}
	}
	f.view = append(f.view, mtu(testSelf.ID, nodeID(1), 1400))
	f.matrix = append(f.matrix, mtu(nodeID(1), testSelf.ID, 1500), mtu(nodeID(1), nodeID(2), 1300))
	f.matrix[len(f.matrix)-1].Metrics = []core.Metric{{Name: "loss_ratio", Value: 0.5}}
	got := decode[matrixJSON](t, api(f, "matrix?probe=pmtu&metric=pmtu_forward_bytes"))
	const down, alive, self = 0, 1, 2
	if c := got.Rows[self][alive]; c == nil || c.Value == nil || *c.Value != 1400 {
		t.Errorf("self to the peer: got %+v, want 1400", c)
	}
	if c := got.Rows[alive][self]; c == nil || c.Value == nil || *c.Value != 1500 {
		t.Errorf("the peer to self: got %+v, want 1500", c)
	}
	if c := got.Rows[alive][down]; c == nil || c.Value != nil {
		t.Errorf("without that metric: got %+v, want no value", c)
	}
	if want := []string{"loss_ratio", "odd.name", "pmtu_forward_bytes"}; !slices.Equal(got.Metrics, want) || got.Metric != want[2] {
		t.Errorf("got metrics %q and %q, want %q", got.Metrics, got.Metric, want)
	}
	// No probe of this node: old is what its peer would not tell again.
	if want := []string{"https", "pmtu"}; !slices.Equal(got.Probes, want) || got.StaleAfter != 390 {
		t.Errorf("got probes %q, stale after %v s, want %q after 390", got.Probes, got.StaleAfter, want)
	}
	if c := decode[matrixJSON](t, api(f, "matrix?probe=pmtu&metric=odd.name")).Rows[self][alive]; c == nil || c.Value != nil {
		t.Errorf("an infinite value: got %+v, want none", c)
	}
}

// A past matrix is as the store tells it: nothing of now is mixed in.
func TestPastMatrix(t *testing.T) {
	f := twoNodes(testSelf.ID)
	then := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	f.past = []core.PathStatus{
		{Source: nodeID(1), Destination: testSelf.ID, Probe: "https", Outcome: core.OutcomeFailure, Reason: "timeout", At: then},
		{Source: nodeID(77), Destination: testSelf.ID, Probe: "https", Outcome: core.OutcomeSuccess, At: then},
	}
	got := decode[matrixJSON](t, api(f, "matrix?at=2026-01-01T12:05:00Z"))
	const alive, self = 1, 2
	if !got.At.Equal(then.Add(5*time.Minute)) || got.Unknown != 1 || got.StaleAfter != 690 || got.Rows[self][alive] != nil {
		t.Errorf("got %+v, want nothing of now", got)
	}
	if c := got.Rows[alive][self]; c == nil || c.Reason != "timeout" || !c.At.Equal(then) {
		t.Errorf("the peer's view of self: got %+v, want the failure of then", c)
	}
}

func TestPaths(t *testing.T) {
	f := twoNodes(testSelf.ID)
	f.sums = []core.PathSummary{{
		Node: nodeID(1), Runs: 200, Failures: 50, P50: 1500 * time.Microsecond, P90: 2 * time.Millisecond, P99: time.Second,
	}, {Node: nodeID(77), Runs: 1}}
	got := decode[windowJSON](t, api(f, "paths"))
	if q := f.windows[0]; q.Probe != "https" || q.To.Sub(q.From) != 24*time.Hour || len(got.Paths) != 2 {
		t.Fatalf("asked for %+v, got %+v", q, got)
	}
	const down, alive = 0, 1
	if p := got.Paths[alive]; p.Node != nodeID(1) || *p.Success != 0.75 || *p.P50 != 1500 || *p.P90 != 2000 || *p.P99 != 1_000_000 {
		t.Errorf("got %+v", p)
	}
	if p := got.Paths[down]; p.Node != nodeID(2) || p.Success != nil || p.P50 != nil || p.Runs != 0 {
		t.Errorf("never measured: got %+v, want null", p)
	}
	api(f, "paths?probe=stamp&from=2026-01-01T00:00:00Z&to=2026-01-01T02:00:00Z")
	if q := f.windows[1]; q.Probe != "stamp" || q.To.Sub(q.From) != 2*time.Hour {
		t.Errorf("asked for %+v", q)
	}
}

func TestConfirmed(t *testing.T) {
	measured := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	longest := core.ViewHold + 90*time.Second
	for name, c := range map[string]struct{ seen, want time.Time }{
		"polled since":             {measured.Add(time.Minute), measured.Add(time.Minute)},
		"silent about it for long": {measured.Add(longest), measured},
		"not polled since":         {measured.Add(-time.Second), measured},
		"never polled":             {time.Time{}, measured},
	} {
		if got := confirmed(measured, c.seen, 30*time.Second); !got.Equal(c.want) {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestHistory(t *testing.T) {
	f := twoNodes(testSelf.ID)
	path := "nodes/" + nodeID(1).String() + "/history"
	got := decode[historyJSON](t, api(f, path+"?from=2026-01-01T00:00:00Z&to=2026-01-01T02:00:00%2B00:00&step=1m"))
	if len(got.At) != 2 || *got.Min[0] != 1000 || *got.Mean[0] != 1500 || got.Mean[1] != nil || got.Failures[1] != 2 || got.Metric != "rtt_us" {
		t.Errorf("got %+v, want microseconds, and null where nothing was measured", got)
	}
	q := f.queries[0]
	if q.Probe != "https" || q.Metric != "" || q.To.Sub(q.From) != 2*time.Hour || q.Step != time.Minute || q.Node != nodeID(1) {
		t.Errorf("asked for %+v", q)
	}
	got = decode[historyJSON](t, api(f, path+"?probe=stamp&metric=loss_ratio"))
	if q := f.queries[1]; q.Probe != "stamp" || q.Metric != "loss_ratio" || q.To.Sub(q.From) != time.Hour || q.Step != 30*time.Second {
		t.Errorf("asked for %+v", q)
	}
	if *got.Min[0] != 0.001 {
		t.Errorf("another metric: got %v, want it as it is stored", *got.Min[0])
	}
}

func TestEventsPluginsReports(t *testing.T) {
	f := twoNodes(testSelf.ID)
	events := decode[eventsJSON](t, api(f, "events?open=true&kind=node_state&limit=5&since=2026-01-01T00:00:00Z"))
	if len(events.Events) != 2 || events.Events[0].Ended != nil || events.Events[1].Ended == nil {
		t.Errorf("events: got %+v", events)
	}
	if q := f.wanted[0]; !q.Open || q.Kind != "node_state" || q.Limit != 5 || q.Since.Year() != 2026 {
		t.Errorf("events: asked for %+v", q)
	}
	plugins := decode[pluginsJSON](t, api(f, "plugins"))
	if len(plugins.Plugins) != 1 || len(plugins.Probes) != 2 || plugins.Probes[0].StaleAfter != 90 || plugins.Reporters[0].Backlog != 1 {
		t.Errorf("plugins: got %+v", plugins)
	}
	s := newServer(f, &core.Hub{})
	if a := serve(s.Handler(), "127.0.0.1:1", "POST", "/report", original); a.status != http.StatusOK {
		t.Fatalf("report: got %d %s", a.status, a.body)
	}
	type reports struct{ Reports []reportJSON }
	all := decode[reports](t, api(f, "reports"))
	if len(all.Reports) != 1 || all.Reports[0].NodeCount != 2 || all.Reports[0].Nodes != nil || all.Reports[0].Verified {
		t.Errorf("reports: got %+v", all)
	}
	one := decode[reports](t, api(f, "reports/0b7c1f6e-6d0e-4a5e-8f5e-0d6f3f1d2c3b"))
	if len(one.Reports) != 1 || len(one.Reports[0].Nodes) != 2 || one.Reports[0].Nodes[0].ID != "seed-nodeprobe-2-192.168.65.11" {
		t.Errorf("report: got %+v", one)
	}
	if none := decode[reports](t, api(f, "reports/"+nodeID(9).String())); len(none.Reports) != 0 {
		t.Errorf("report of another node: got %+v", none)
	}
}

func TestStoreNotReadable(t *testing.T) {
	f := twoNodes(testSelf.ID)
	f.down = errDown
	for _, path := range []string{"matrix", "matrix?at=2026-01-01T00:00:00Z", "paths", "events", "reports", "nodes/" + nodeID(1).String() + "/history"} {
		if a := api(f, path); a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "yaml") {
			t.Errorf("%s: got %d %s, want 503 without the cause", path, a.status, a.body)
		}
	}
	for _, path := range []string{"summary", "nodes", "plugins"} {
		if a := api(f, path); a.status != http.StatusOK {
			t.Errorf("%s: got %d, want 200: it does not need the store", path, a.status)
		}
	}
}

func TestWrongParametersAreNamed(t *testing.T) {
	history := "nodes/" + nodeID(1).String() + "/history?"
	for _, tt := range []struct {
		path, parameter string
		status          int
	}{
		{"nodes/x", "id", 400},
		{"nodes/" + nodeID(9).String(), "", 404},
		{"nodes/" + nodeID(9).String() + "/history", "", 404},
		{"nodes?limit=1", "limit", 400},
		{"summary?x=1", "x", 400},
		{"matrix?probe=../etc", "probe", 400},
		{"matrix?at=yesterday", "at", 400},
		{"matrix?metric=A", "metric", 400},
		{"matrix?at=2199-01-01T00:00:00Z", "at", 400},
		{"paths?probe=A", "probe", 400},
		{"paths?step=1m", "step", 400},
		{"paths?from=2026-01-02T00:00:00Z&to=2026-01-02T00:00:00Z", "from", 400},
		{"paths?from=2000-01-02T00:00:00Z", "from", 400},
		{"matrix?probe=https&probe=stamp", "probe", 400},
		{"matrix?%zz", "query", 400},
		{"events?limit=0", "limit", 400},
		{"events?limit=1001", "limit", 400},
		{"events?limit=9999999999999999999999", "limit", 400},
		{"events?open=maybe", "open", 400},
		{"events?since=yesterday", "since", 400},
		{"events?until=9999-12-31T00:00:00Z", "until", 400},
		{"events?subject=" + strings.Repeat("a", 129), "subject", 400},
		{"events?kind=A%00B", "kind", 400},
		{history + "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from", 400},
		{history + "from=1971-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from", 400},
		{history + "step=1ns", "step", 400},
		{history + "step=-1m", "step", 400},
		{history + "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z&step=1s", "step", 400},
		{history + "metric=" + strings.Repeat("a", 65), "metric", 400},
		{"reports/x", "id", 400},
		{"stream?x=1", "x", 400},
	} {
		a := api(twoNodes(testSelf.ID), tt.path)
		got := decode[failure](t, a)
		if a.status != tt.status || got.Parameter != tt.parameter || got.Error == "" {
			t.Errorf("%s: got %d %+v, want %d and parameter %q", tt.path, a.status, got, tt.status, tt.parameter)
		}
	}
}

// TestUnknownProbesAreNotFound unless something that they measured is there.
func TestUnknownProbesAreNotFound(t *testing.T) {
	node := "nodes/" + nodeID(1).String()
	for _, path := range []string{"matrix?probe=zzz", "matrix?probe=zzz&at=2026-01-01T00:00:00Z", "paths?probe=zzz", node + "/history?probe=zzz", node + "/documents?probe=zzz"} {
		f := twoNodes(testSelf.ID)
		f.buckets = slices.Clone(f.buckets)
		for i := range f.buckets {
			f.buckets[i].Runs = 0
		}
		a := api(f, path)
		if got := decode[failure](t, a); a.status != 404 || got.Parameter != "probe" || !strings.HasSuffix(got.Error, "there is https, stamp") {
			t.Errorf("%s: got %d %s, want 404 with the names that there are", path, a.status, a.body)
		}
		if a := api(f, strings.Replace(path, "zzz", "stamp", 1)); a.status != 200 {
			t.Errorf("a probe that has not measured: got %d %s, want 200", a.status, a.body)
		}
	}
	f := twoNodes(testSelf.ID)
	left := core.PathStatus{Source: testSelf.ID, Destination: nodeID(1), Probe: "zzz"}
	f.matrix, f.past = append(f.matrix, left), append(f.past, left)
	f.sums = []core.PathSummary{{Node: nodeID(1), Runs: 1}}
	f.documents = []core.StoredDocument{{Node: nodeID(1), Probe: "zzz", Document: core.Document{JSON: []byte("{}")}}}
	for _, path := range []string{"matrix?probe=zzz", "matrix?probe=zzz&at=2026-01-01T00:00:00Z", "paths?probe=zzz", node + "/history?probe=zzz", node + "/documents?probe=zzz"} {
		if a := api(f, path); a.status != 200 {
			t.Errorf("%s of a probe that was: got %d %s, want 200", path, a.status, a.body)
		}
	}
}

// FuzzParameters: whatever is asked, the answer is 200 or a 400 or 404 that names a
// parameter, and the store is never asked for more than one answer may hold.
func FuzzParameters(f *testing.F) {
	f.Add("history", "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&step=1m&metric=loss_ratio&probe=https")
	f.Add("events", "since=2026-01-01T00:00:00Z&open=true&limit=10&kind=node_state&subject=x")
	f.Add("matrix", "probe=stamp;x=%00")
	f.Add("history", "step=1h&from=1970-01-01T00:00:00Z&to=2199-12-31T23:59:59Z")
	fk := twoNodes(testSelf.ID)
	s := newServer(fk, &core.Hub{})
	f.Fuzz(func(t *testing.T, endpoint, rawQuery string) {
		path := "/api/v1/" + map[string]string{"history": "nodes/" + nodeID(1).String() + "/history", "events": "events"}[endpoint]
		if path == "/api/v1/" {
			path += "matrix"
		}
		fk.queries, fk.wanted = nil, nil
		r := &http.Request{
			Method: http.MethodGet, Host: "localhost", RemoteAddr: "127.0.0.1:1", Header: http.Header{},
			URL: &url.URL{Path: path, RawQuery: rawQuery}, Body: http.NoBody,
		}
		rec := newRecorder()
		s.Handler().ServeHTTP(rec, r)
		if rec.status != 200 && (rec.status != 400 && rec.status != 404 || decode[failure](t, answer{body: rec.body.String()}).Parameter == "") {
			t.Errorf("%s?%s: got %d %s", path, rawQuery, rec.status, rec.body.String())
		}
		for _, q := range fk.queries {
			if n := q.To.Sub(q.From) / q.Step; n < 0 || n > maxPoints {
				t.Errorf("%s: asked for %d points", rawQuery, n)
			}
		}
		for _, q := range fk.wanted {
			if q.Limit < 1 || q.Limit > maxEvents {
				t.Errorf("%s: asked for %d events", rawQuery, q.Limit)
			}
		}
	})
}
