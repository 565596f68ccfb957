package web

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// fakes are all that a server works with, in memory.
type fakes struct {
	attributes map[string]map[string]string // by node and probe
	mu         sync.Mutex                   // guards the rest
	nodes      []core.Node
	seeds      []string // their problems
	version    uint64
	view       []core.PathStatus
	viewed     uint64
	matrix     []core.PathStatus
	past       []core.PathStatus
	rows       core.Matrix // in place of matrix, when it is large
	sums       []core.PathSummary
	windows    []core.WindowQuery
	events     []core.Event
	buckets    []core.Bucket
	plugins    []core.PluginStatus
	services   []core.Service
	found      []core.OpenFinding

	documents []core.StoredDocument
	sought    []core.DocumentQuery
	status    []core.ReporterStatus
	health    Health
	stored    core.Storage
	counts    core.StorageCounts
	stats     core.EngineStats
	asked     int // for the health
	down      error
	reports   []core.Report
	callers   []call
	goodbyes  []core.KeyHash
	forgot    []core.NodeID
	enabled   []string
	targets   []core.Target
	queries   []core.HistoryQuery
	wanted    []core.EventQuery
}

type call struct {
	key core.KeyHash
	at  []core.Endpoint
}

func with[T any](f *fakes, read func() T) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return read()
}

func (f *fakes) Nodes() []core.Node { return with(f, func() []core.Node { return f.nodes }) }

func (f *fakes) find(match func(core.Node) bool) (core.Node, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.IndexFunc(f.nodes, match); i >= 0 {
		return f.nodes[i], true
	}
	return core.Node{}, false
}

func (f *fakes) Node(id core.NodeID) (core.Node, bool) {
	return f.find(func(n core.Node) bool { return n.ID == id })
}

func (f *fakes) ByKey(k core.KeyHash) (core.Node, bool) {
	return f.find(func(n core.Node) bool { return n.Key == k })
}

func (f *fakes) Shared() ([]core.Node, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes, f.version
}

func (f *fakes) Candidates() int { return 1 }

func (f *fakes) SeedProblems() []string { return with(f, func() []string { return f.seeds }) }

func (f *fakes) Caller(key core.KeyHash, at ...core.Endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.callers = append(f.callers, call{key, at})
}

func (f *fakes) Goodbye(key core.KeyHash) bool {
	_, known := f.ByKey(key)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.goodbyes = append(f.goodbyes, key)
	return known
}

func (f *fakes) Forget(id core.NodeID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgot = append(f.forgot, id)
	return f.down
}

func (f *fakes) Events(_ context.Context, q core.EventQuery) ([]core.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = append(f.wanted, q)
	return f.events, f.down
}

func (f *fakes) History(_ context.Context, q core.HistoryQuery) ([]core.Bucket, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queries = append(f.queries, q)
	return f.buckets, f.down
}

func (f *fakes) Matrix(_ context.Context, q core.MatrixQuery) (core.Matrix, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !q.At.IsZero() {
		return rowsOf(f.past, q), f.down
	}
	if f.rows != nil {
		return f.rows, f.down
	}
	return rowsOf(f.matrix, q), f.down
}

func rowsOf(paths []core.PathStatus, q core.MatrixQuery) core.Matrix {
	bySource := map[core.NodeID][]core.PathStatus{}
	for _, p := range paths {
		bySource[p.Source] = append(bySource[p.Source], p)
	}
	m := core.Matrix{}
	for source, row := range bySource {
		m[source] = func(to *core.MatrixRow) {
			to.Reset()
			for _, p := range row {
				to.Add(q, p)
			}
		}
	}
	return m
}

// matrixJSON is the whole answer.
type matrixJSON struct {
	matrixHead
	Rows [][]*cell `json:"rows"`
	matrixTail
}

func (f *fakes) Percentiles(_ context.Context, q core.WindowQuery) ([]core.PathSummary, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.windows = append(f.windows, q)
	return f.sums, f.down
}

func (f *fakes) Reports(context.Context) ([]core.ReportInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var infos []core.ReportInfo
	for _, r := range f.reports {
		infos = append(infos, core.ReportInfo{
			Node: r.Node, Verified: r.Verified, From: r.From, Sent: r.Sent, Received: r.Received,
			NodeCount: len(r.Nodes), PathCount: len(r.Paths),
		})
	}
	return infos, f.down
}

func (f *fakes) ReportsOf(_ context.Context, id core.NodeID) ([]core.Report, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.reports), func(r core.Report) bool { return r.Node != id }), f.down
}

func (f *fakes) SaveReport(_ context.Context, r core.Report) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down == nil {
		f.reports = append(f.reports, r)
	}
	return f.down
}

func (f *fakes) View() ([]core.PathStatus, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view, f.viewed
}

func (f *fakes) Probe(_ context.Context, probe string, t core.Target) (core.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.targets = append(f.targets, t)
	return core.Result{
		Job:     core.Job{Probe: probe, Target: t, Trigger: core.TriggerManual},
		Outcome: core.OutcomeFailure, Reason: core.ReasonTimeout, Message: "no answer",
	}, f.down
}

func (f *fakes) Probes() []core.ProbeInfo {
	return []core.ProbeInfo{
		{Name: "https", Plugin: "https", Kind: "https", Interval: 30 * time.Second, Timeout: 10 * time.Second, Identifies: true},
		{Name: "stamp", Plugin: "path", Kind: "stamp", Interval: time.Minute, Timeout: 10 * time.Second},
	}
}

func (f *fakes) Enable(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enabled = append(f.enabled, name)
	return f.down
}

func (f *fakes) Documents(_ context.Context, q core.DocumentQuery) ([]core.StoredDocument, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sought = append(f.sought, q)
	return f.documents, f.down
}

func (f *fakes) Attributes(node core.NodeID, probe string) map[string]string {
	return with(f, func() map[string]string { return f.attributes[node.String()+probe] })
}

func (f *fakes) Findings() []core.OpenFinding {
	return with(f, func() []core.OpenFinding { return f.found })
}

func (f *fakes) Services() []core.Service {
	return with(f, func() []core.Service { return f.services })
}

// hostFakes and deliveryFakes keep apart the two methods named Status.
type hostFakes struct{ *fakes }

func (f hostFakes) Status() []core.PluginStatus {
	return with(f.fakes, func() []core.PluginStatus { return f.plugins })
}

type deliveryFakes struct{ *fakes }

func (f deliveryFakes) Status() []core.ReporterStatus {
	return with(f.fakes, func() []core.ReporterStatus { return f.status })
}

func (f *fakes) checkHealth(context.Context) Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.health
}

func (f *fakes) Stats() core.EngineStats {
	return with(f, func() core.EngineStats { return f.stats })
}

func (f *fakes) countStorage() core.StorageCounts {
	return with(f, func() core.StorageCounts { return f.counts })
}

func (f *fakes) checkStorage(context.Context) (core.Storage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stored, f.down
}

func (f *fakes) reload(context.Context) error { return with(f, func() error { return f.down }) }

// errDown is what every fake says when it is down.
var errDown = errors.New("nodeprobe.yaml:3: probes.https.interval: want a duration")

// twoNodes is a mesh with one peer that answers, one that never did, and what
// is measured on their paths.
func twoNodes(self core.NodeID) *fakes {
	now := time.Now()
	alive := core.Node{
		ID: nodeID(1), FQDN: "node-1.example.net", Proven: true, Version: "1.0.0", State: core.StateAlive,
		DiscoveredBy: "seed", Seed: true, Endpoints: []core.Endpoint{{Host: "192.0.2.1", Port: 8443}},
		FirstSeen: now.Add(-time.Hour), LastSeen: now, Since: now.Add(-time.Hour),
	}
	down := core.Node{
		ID: nodeID(2), State: core.StateDown, Reason: "refused", Message: "connection refused",
		DiscoveredBy: "caller", Endpoints: []core.Endpoint{{Host: "192.0.2.2", Port: 443}}, Failures: 3,
	}
	status := func(from, to core.NodeID, o core.Outcome, rtt time.Duration, age time.Duration) core.PathStatus {
		return core.PathStatus{Source: from, Destination: to, Probe: "https", Outcome: o, RTT: rtt, At: now.Add(-age)}
	}
	return &fakes{
		nodes: []core.Node{alive, down}, version: 7, viewed: 9,
		view: []core.PathStatus{
			status(self, alive.ID, core.OutcomeSuccess, 1234*time.Microsecond, 0),
			status(self, down.ID, core.OutcomeFailure, 0, 0),
		},
		matrix: []core.PathStatus{
			status(alive.ID, self, core.OutcomeSuccess, 2*time.Millisecond, 0),
			status(self, alive.ID, core.OutcomeFailure, 0, time.Hour),
			status(alive.ID, nodeID(99), core.OutcomeSuccess, time.Millisecond, 0),
		},
		events: []core.Event{
			{ID: 2, Kind: core.EventNodeState, Subject: down.ID.String(), Message: "node is down: connection refused", Began: now.Add(-time.Minute)},
			{ID: 1, Kind: core.EventNodeStarted, Subject: self.String(), Message: "node started", Began: now, Ended: now},
		},
		buckets: []core.Bucket{
			{At: now.Add(-2 * time.Minute), Runs: 2, Min: 0.001, Mean: 0.0015, Max: 0.002},
			{At: now.Add(-time.Minute), Runs: 2, Failures: 2, Min: math.NaN(), Mean: math.NaN(), Max: math.NaN()},
		},
		plugins: []core.PluginStatus{
			{Name: "https", Version: "1.0.0", Builtin: true, State: core.PluginRunning, PID: 42, Probes: []string{"https"}, Started: now, Counters: map[string]uint64{"knocks": 3}},
		},
		status: []core.ReporterStatus{{Name: "snapshot", Plugin: "report", Kind: "snapshot", Backlog: 1, Delivered: 5, LastSuccess: now}},
		health: Health{Checks: []Check{{Name: "database"}, {Name: "scheduler"}, {Name: "plugins"}}},
	}
}

func nodeID(n byte) core.NodeID {
	return core.NodeID{0x5a, 0x3c, 0x9d, 0x52, 0x8a, 0x56, 0x4b, 0x1e, 0x9c, 0x0f, 0, 0, 0, 0, 0, n}
}
