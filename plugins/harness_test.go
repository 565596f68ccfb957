package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

// patience bounds waits for things that happen in milliseconds on a good day.
const patience = 5 * time.Second

// rig is a running host that collects all results.
type rig struct {
	*Host
	t   testing.TB
	log *logBuffer
	ids atomic.Uint64

	mu      sync.Mutex
	results map[uint64][]core.Result
}

// quickPulse makes frozen plugins known soon, on a machine that is not too busy.
func quickPulse(o *Options) { o.HeartbeatEvery = 150 * time.Millisecond }

// newRig runs a host with short times until the test ends.
func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	log := &logBuffer{}
	o := Options{
		Log: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug, JSONFormat: true}), RunDir: t.TempDir(),
		Node: NodeInfo{ID: "6f1c9d0e-0000-8000-8000-000000000001", FQDN: "self.example", Version: "1.0.0"},
		Tunables: Tunables{
			JobGrace: 200 * time.Millisecond, BackoffMin: 20 * time.Millisecond, BackoffMax: 100 * time.Millisecond,
		},
	}
	if change != nil {
		change(&o)
	}
	r := &rig{Host: New(o), t: t, log: log, results: make(map[uint64][]core.Result)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	running.Go(r.collect)
	t.Cleanup(func() { cancel(); running.Wait() })
	return r
}

func (r *rig) collect() {
	for batch := range r.Results() {
		r.mu.Lock()
		for _, res := range batch {
			r.results[res.Job.ID] = append(r.results[res.Job.ID], res)
		}
		r.mu.Unlock()
	}
}

func (r *rig) apply(specs ...Spec) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Apply(ctx, specs); err != nil {
		r.t.Fatalf("apply: %v", err)
	}
}

// submit sends one job and returns its id.
func (r *rig) submit(probe string, timeout time.Duration) uint64 {
	r.t.Helper()
	id := r.ids.Add(1)
	j := core.Job{ID: id, Probe: probe, Target: core.Target{Endpoint: core.Endpoint{Host: "192.0.2.1", Port: 443}}, Due: time.Now(), Timeout: timeout}
	if err := r.Submit(j); err != nil {
		r.t.Fatalf("submit %s: %v", probe, err)
	}
	return id
}

// result waits for the one result of a job.
func (r *rig) result(id uint64) core.Result {
	r.t.Helper()
	var got []core.Result
	r.eventually(fmt.Sprintf("result of job %d", id), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		got = r.results[id]
		return len(got) > 0
	})
	return got[0]
}

func (r *rig) probe(name string) core.Result {
	r.t.Helper()
	return r.result(r.submit(name, patience))
}

// exactlyOnce waits until every job so far has its result and then fails the
// test if one has more.
func (r *rig) exactlyOnce() {
	r.t.Helper()
	n := int(r.ids.Load())
	r.eventually(fmt.Sprintf("%d results", n), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.results) >= n
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, rs := range r.results {
		if len(rs) != 1 {
			r.t.Errorf("job %d got %d results, want 1", id, len(rs))
		}
	}
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within %v; status %+v", what, patience, r.Status())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *rig) status(name string) core.PluginStatus {
	r.t.Helper()
	all := r.Status()
	i := slices.IndexFunc(all, func(s core.PluginStatus) bool { return s.Name == name })
	if i < 0 {
		r.t.Fatalf("no status of %s in %+v", name, all)
	}
	return all[i]
}

// state waits until the plugin is in state.
func (r *rig) state(name string, want core.PluginState) core.PluginStatus {
	r.t.Helper()
	r.eventually(name+" is "+string(want), func() bool { return r.status(name).State == want })
	return r.status(name)
}

// serves waits until a run of the probe succeeds.
func (r *rig) serves(probe string) {
	r.t.Helper()
	r.eventually(probe+" serves", func() bool { return r.probe(probe).Outcome == core.OutcomeSuccess })
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// logBuffer keeps what the host logs.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// memory is a StateStore.
type memory struct {
	mu      sync.Mutex
	records map[string]core.PluginRecord
}

func (m *memory) SavePlugin(_ context.Context, r core.PluginRecord) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = make(map[string]core.PluginRecord)
	}
	m.records[r.Name] = r
	return nil
}

func (m *memory) record(plugin string) core.PluginRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[plugin]
}

func (m *memory) Plugins(context.Context) ([]core.PluginRecord, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.records)), nil
}

// helperHost runs a host with the specs until it is killed. It prints the pid
// of each plugin, then "ready".
func helperHost(specs string) {
	var list []Spec
	err := json.Unmarshal([]byte(specs), &list)
	h := New(Options{})
	if err == nil {
		err = h.Apply(context.Background(), list)
	}
	for _, s := range h.Status() {
		if s.State != core.PluginRunning {
			err = errors.Join(err, errors.New(s.Name+" "+s.Problem))
		}
		fmt.Println(s.PID)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_ = h.Run(context.Background())
}
