package plugins

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// flushLimit is how long a host that ends waits for the engine to collect results.
const flushLimit = 500 * time.Millisecond

// Host runs plugin processes. Its methods may be called concurrently.
type Host struct {
	Options
	runDir    string
	runDirErr error
	spawner   *spawner
	out       *outbox
	routes    atomic.Pointer[routes]

	ctx        context.Context // ends when the host does
	end        context.CancelFunc
	supervised sync.WaitGroup

	applying sync.Mutex // one change of the set at a time

	mu      sync.Mutex // guards below
	plugins map[string]*supervisor
}

// routes is where jobs and batches go, by instance name; never changed, only replaced.
type routes struct {
	probes, reporters map[string]*supervisor
}

// New makes a host without plugins and sweeps what a killed one left in RunDir.
// Processes that Apply starts live until Run has returned.
func New(o Options) *Host {
	o.setDefaults()
	h := &Host{Options: o, spawner: newSpawner(), out: newOutbox(), plugins: make(map[string]*supervisor)}
	h.runDir, h.runDirErr = prepareRunDir(o.RunDir)
	h.ctx, h.end = context.WithCancel(context.Background())
	h.routes.Store(&routes{})
	return h
}

// Run hands results on until ctx ends; then it ends every process, within three
// seconds, closes Results and returns nil. It must be called once.
func (h *Host) Run(ctx context.Context) error {
	pass, stop := context.WithCancel(context.Background())
	var passing sync.WaitGroup
	passing.Go(func() { h.out.run(pass) })
	<-ctx.Done()
	h.end()
	h.applying.Lock() // an Apply under way sees the end and cleans up
	defer h.applying.Unlock()
	h.supervised.Wait()
	stop()
	passing.Wait()
	h.out.flush(flushLimit)
	h.spawner.stop()
	if h.runDirErr == nil && h.runDir != h.Options.RunDir {
		return os.RemoveAll(h.runDir) // one of our own making
	}
	return nil
}

// Submit hands a job to its probe and never blocks. After nil exactly one result
// follows, also when the plugin does not serve. Errors: ErrUnknownProbe,
// ErrOverloaded, ErrStopped.
func (h *Host) Submit(j core.Job) error {
	if h.ctx.Err() != nil {
		return ErrStopped
	}
	if !h.out.reserve() {
		return ErrOverloaded
	}
	// A plugin that is being replaced takes no more, but its successor is in
	// the routes by then.
	for range 3 {
		s, ok := h.routes.Load().probes[j.Probe]
		if !ok {
			h.out.release()
			return ErrUnknownProbe
		}
		if s.submit(j) {
			return nil
		}
	}
	h.out.add(core.Result{
		Job: j, Outcome: core.OutcomePluginError, Reason: core.ReasonPluginUnavailable, Message: "the plugin is being replaced",
	})
	return nil
}

// Results delivers what Submit promised, in batches. The receiver owns them. The
// channel is closed when Run returns.
func (h *Host) Results() <-chan []core.Result { return h.out.out }

// Deliver hands records, in rising order, to a reporter. Errors: ErrUnknownReporter;
// ErrUnavailable when the plugin does not serve or did not answer.
func (h *Host) Deliver(ctx context.Context, reporter string, recs []core.Record) (core.Receipt, error) {
	s, ok := h.routes.Load().reporters[reporter]
	if !ok {
		return core.Receipt{}, ErrUnknownReporter
	}
	return s.deliver(ctx, reporter, recs)
}

// Enable starts a plugin that was disabled, or that waits for its next start,
// at once. Error: ErrUnknownPlugin.
func (h *Host) Enable(name string) error {
	h.mu.Lock()
	s, ok := h.plugins[name]
	h.mu.Unlock()
	if !ok {
		return ErrUnknownPlugin
	}
	s.enable()
	return nil
}

// list is the supervisors in the order of their names.
func (h *Host) list() []*supervisor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.plugins), func(a, b *supervisor) int { return cmp.Compare(a.name, b.name) })
}

// Status tells of every plugin, by name.
func (h *Host) Status() []core.PluginStatus {
	var out []core.PluginStatus
	for _, s := range h.list() {
		out = append(out, s.status())
	}
	return out
}

// Probes are all configured probes, by name, whether their plugin serves or not.
func (h *Host) Probes() []core.ProbeInfo {
	var out []core.ProbeInfo
	for _, s := range h.list() {
		out = append(out, s.probes()...)
	}
	slices.SortFunc(out, func(a, b core.ProbeInfo) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Reporters are all configured reporters, by name.
func (h *Host) Reporters() []core.ReporterInfo {
	var out []core.ReporterInfo
	for _, s := range h.list() {
		out = append(out, s.reporters()...)
	}
	slices.SortFunc(out, func(a, b core.ReporterInfo) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// save remembers r; a store that fails is logged, the plugin is not held up.
func (h *Host) save(r core.PluginRecord) {
	if h.State == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := h.State.SavePlugin(ctx, r); err != nil {
		h.Log.Warn("plugin state not saved", "plugin", r.Name, "error", err)
	}
}

// remembered are the records of disabled plugins by name.
func (h *Host) remembered(ctx context.Context) (map[string]core.PluginRecord, error) {
	out := make(map[string]core.PluginRecord)
	if h.State == nil {
		return out, nil
	}
	records, err := h.State.Plugins(ctx)
	for _, r := range records {
		if r.Disabled {
			out[r.Name] = r
		}
	}
	return out, err
}

// isStart tells that err is a plugin's failure to start, and returns it.
func isStart(err error) (*startError, bool) {
	var s *startError
	ok := errors.As(err, &s)
	return s, ok
}
