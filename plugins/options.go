package plugins

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

// Errors that callers branch on.
var (
	// ErrUnknownProbe: no plugin is configured to run the job's probe.
	ErrUnknownProbe = errors.New("unknown probe")
	// ErrUnknownReporter: no plugin is configured with this reporter.
	ErrUnknownReporter = errors.New("unknown reporter")
	// ErrUnknownPlugin: there is no plugin of this name.
	ErrUnknownPlugin = errors.New("unknown plugin")
	// ErrUnavailable: the plugin is not serving; trying later can help.
	ErrUnavailable = errors.New("plugin unavailable")
	// ErrOverloaded: more jobs are unanswered, or answers uncollected, than the host keeps.
	ErrOverloaded = errors.New("too many unanswered jobs")
	// ErrStopped: the host has ended.
	ErrStopped = errors.New("plugin host stopped")
)

// StateStore remembers which plugins are disabled across restarts of the host.
type StateStore interface {
	SavePlugin(ctx context.Context, r core.PluginRecord) error
	Plugins(ctx context.Context) ([]core.PluginRecord, error)
}

// NodeInfo is the node that hosts the plugins, as they are told.
type NodeInfo struct {
	ID, FQDN, Version, BootID string
	// Advertise is where peers can dial the node, "host:port".
	Advertise string
	// SPKI is the hash of the node's own key.
	SPKI core.KeyHash
}

// Options of a Host. Zero values of the tunables mean their defaults.
type Options struct {
	Log  hclog.Logger
	Node NodeInfo
	// RunDir holds the sockets: made with mode 0700, leftovers in it are swept.
	// Empty means a directory under the system's temporary directory.
	RunDir string
	// Grant gives the current value of a capability, false when there is none of
	// that name; nil means none at all.
	Grant func(capability string) (value []byte, ok bool)
	// Changed is called when Status or Probes changed. It must not block.
	Changed func()
	// State may be nil: then nothing is remembered.
	State StateStore
	Tunables
}

// Tunables are the host's limits. Their defaults suit production; tests shorten them.
type Tunables struct {
	// StartTimeout from exec to an open stream; default 5 s (healthy plugins need 10 ms).
	StartTimeout time.Duration
	// CallTimeout of Describe and Configure; default 5 s.
	CallTimeout time.Duration
	// HeartbeatEvery is the beat on the stream; after HeartbeatMisses (default 3)
	// unanswered ones the process is killed. Default 5 s.
	HeartbeatEvery  time.Duration
	HeartbeatMisses int
	// JobGrace is what a run may overrun its deadline before the host answers
	// for the plugin; more than the SDK's own grace. Default 2 s.
	JobGrace time.Duration
	// DrainTimeout bounds the wait for runs in flight when a plugin is replaced
	// or removed, unless their own deadlines are later; default 10 s.
	DrainTimeout time.Duration
	// StopGrace is how long a process may take to end by itself; default 500 ms.
	StopGrace time.Duration
	// BackoffMin and BackoffMax bound the wait before a restart; default 0.1 s and 30 s.
	BackoffMin, BackoffMax time.Duration
	// CrashLimit crashes within CrashWindow disable a plugin; default 5 in 5 min. A
	// built-in one then waits for CrashWindow/CrashLimit before each start.
	CrashLimit  int
	CrashWindow time.Duration
	// QueueLimit bounds the jobs waiting for one process; default 4096.
	QueueLimit int
	// LogBytesPerMinute of stderr are logged, the rest is counted; default 1 MB.
	LogBytesPerMinute int
}

func (t *Tunables) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	count := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&t.StartTimeout, 5*time.Second)
	def(&t.CallTimeout, 5*time.Second)
	def(&t.HeartbeatEvery, 5*time.Second)
	count(&t.HeartbeatMisses, 3)
	def(&t.JobGrace, 2*time.Second)
	def(&t.DrainTimeout, 10*time.Second)
	def(&t.StopGrace, 500*time.Millisecond)
	def(&t.BackoffMin, 100*time.Millisecond)
	def(&t.BackoffMax, 30*time.Second)
	count(&t.CrashLimit, 5)
	def(&t.CrashWindow, 5*time.Minute)
	count(&t.QueueLimit, 4096)
	count(&t.LogBytesPerMinute, 1_000_000)
}

func (o *Options) setDefaults() {
	o.Tunables.setDefaults()
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Grant == nil {
		o.Grant = func(string) ([]byte, bool) { return nil, false }
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
}
