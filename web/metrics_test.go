package web

import (
	"math"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/seahow-uk/nodeprobe/core"
)

// scrape reads GET /metrics as Prometheus does.
func scrape(t testing.TB, f *fakes) map[string]*dto.MetricFamily {
	t.Helper()
	a := serve(newServer(f, &core.Hub{}).Handler(), "127.0.0.1:1", "GET", "/metrics", "")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("got %d %s, want the text format", a.status, a.header.Get("Content-Type"))
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sample is the value of the only sample with these labels; NaN without one.
func sample(all map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	value := math.NaN()
	for _, m := range all[name].GetMetric() {
		has := map[string]string{}
		for _, l := range m.Label {
			has[l.GetName()] = l.GetValue()
		}
		same := true
		for i := 0; i < len(labels); i += 2 {
			same = same && has[labels[i]] == labels[i+1]
		}
		if same {
			value = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return value
}

func TestMetrics(t *testing.T) {
	f := twoNodes(testSelf.ID)
	f.stored = core.Storage{Bytes: 5, MaxBytes: 10, Results: time.Unix(100, 0), RawFits: time.Hour}
	f.counts = core.StorageCounts{Paused: true, Commits: 7, Mishaps: 1, Dropped: map[string]uint64{core.DropRaw: 9}}
	f.stats = core.EngineStats{Skipped: 3, Outcomes: map[core.RunKind]uint64{{Probe: "https", Outcome: core.OutcomeFailure}: 4}}
	first, second := f.nodes[0].ID, f.nodes[1].ID
	f.view = []core.PathStatus{
		{Source: testSelf.ID, Destination: first, Probe: "my-probe", Outcome: core.OutcomeSuccess, RTT: 1500 * time.Microsecond, At: time.Unix(50, 0), Metrics: []core.Metric{
			{Name: "loss_ratio", Value: 0.25}, {Name: "a b-seconds", Value: 1}, {Name: "a_b_seconds", Value: 2}, {Name: "success", Value: 8}, {Name: "odd", Value: math.NaN()},
		}},
		{Source: testSelf.ID, Destination: second, Probe: "my-probe", Outcome: core.OutcomePluginError},
		{Source: testSelf.ID, Destination: core.NodeID{9}, Probe: "my-probe", Outcome: core.OutcomeSuccess},
	}
	all := scrape(t, f)
	id := first.String()
	for _, tt := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"nodeprobe_info", []string{"version", testSelf.Version}, 1},
		{"nodeprobe_peers", []string{"state", "alive"}, 1},
		{"nodeprobe_storage_bytes", nil, 5},
		{"nodeprobe_storage_limit_bytes", nil, 10},
		{"nodeprobe_storage_oldest_timestamp_seconds", []string{"kind", "raw"}, 100},
		{"nodeprobe_storage_paused", nil, 1},
		{"nodeprobe_storage_commits_total", nil, 7},
		{"nodeprobe_storage_mishaps_total", nil, 1},
		{"nodeprobe_storage_dropped_rows_total", []string{"kind", "raw_results"}, 9},
		{"nodeprobe_storage_dropped_rows_total", []string{"kind", "events"}, 0},
		{"nodeprobe_runs_total", []string{"probe", "https", "outcome", "failure"}, 4},
		{"nodeprobe_runs_skipped_total", nil, 3},
		{"nodeprobe_plugin_restarts_total", []string{"plugin", f.plugins[0].Name}, float64(f.plugins[0].Restarts)},
		{"nodeprobe_plugin_counted_total", []string{"plugin", f.plugins[0].Name, "counter", "knocks"}, 3},
		{"nodeprobe_reporter_backlog", []string{"reporter", f.status[0].Name}, float64(f.status[0].Backlog)},
		{"nodeprobe_result_success", []string{"node", id, "probe", "my-probe"}, 1},
		{"nodeprobe_result_success", []string{"node", second.String()}, math.NaN()},
		{"nodeprobe_result_success", []string{"node", core.NodeID{9}.String()}, math.NaN()},
		{"nodeprobe_result_rtt_seconds", []string{"node", id, "name", f.nodes[0].Name()}, 0.0015},
		{"nodeprobe_result_timestamp_seconds", []string{"node", id}, 50},
		{"nodeprobe_result_loss_ratio", []string{"node", id}, 0.25},
		{"nodeprobe_result_a_b_seconds", []string{"node", id}, 1},
		{"nodeprobe_result_odd", nil, math.NaN()},
		{"nodeprobe_results_left_out", nil, 0},
	} {
		if got := sample(all, tt.name, tt.labels...); got != tt.want && !(math.IsNaN(got) && math.IsNaN(tt.want)) {
			t.Errorf("%s%q: got %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}

	f.down = errDown
	if got := sample(scrape(t, f), "nodeprobe_storage_paused"); got != 1 {
		t.Errorf("database down: got paused %v, want 1", got)
	}
}

// A mesh is told as far as it fits, and no label breaks the format.
func TestMetricsAreBounded(t *testing.T) {
	f := twoNodes(testSelf.ID)
	f.nodes[0].FQDN = "a\"b\\c\nd\xff"
	for i := range maxSamples {
		f.view = append(f.view, core.PathStatus{
			Destination: f.nodes[0].ID, Probe: string(rune('a'+i%26)) + strings.Repeat("x", i/26%50), Outcome: core.OutcomeSuccess,
			Metrics: []core.Metric{{Name: "m" + strings.Repeat("y", i/1300), Value: 1}},
		})
	}
	all := scrape(t, f)
	n := 0
	for _, family := range all {
		n += len(family.Metric)
	}
	if n > maxSamples || n < 1000 {
		t.Errorf("got %d samples, want at most %d", n, maxSamples)
	}
	if got := sample(all, "nodeprobe_result_success", "probe", "a"); got != 1 {
		t.Errorf("got %v, want 1", got)
	}
}
