package delivery

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

// Outbox is what delivery needs of the store.
type Outbox interface {
	// AddReporter gives a new reporter a cursor behind the newest record; for a
	// known one it only sets which kinds it wants.
	AddReporter(ctx context.Context, reporter string, wants []core.RecordKind) error
	RemoveReporter(ctx context.Context, reporter string) error
	// Pending returns the records after the cursor that the reporter wants, in
	// order, as many as fit; one at least if there is any.
	Pending(ctx context.Context, reporter string, maxRecords, maxBytes int) ([]core.Record, error)
	Acknowledge(ctx context.Context, reporter string, through uint64) error
	TrimOutbox(ctx context.Context, maxBytes int64, maxAge time.Duration) ([]core.Gap, error)
	// Backlog counts the records pending by reporter; it names every reporter
	// that has a cursor.
	Backlog(ctx context.Context) (map[string]int, error)
}

// Journal takes down what was dropped.
type Journal interface {
	Note(kind core.EventKind, subject, message string)
}

// Options is what a Delivery works with. Deliver, Outbox, Snapshot, Journal and
// Log are required; zero elsewhere means the default.
type Options struct {
	// Deliver hands records to a reporter. It must return when ctx ends.
	Deliver func(ctx context.Context, reporter string, recs []core.Record) (core.Receipt, error)
	Outbox  Outbox
	// Snapshot makes the record of the network as it is now.
	Snapshot func(context.Context) (core.Record, error)
	Journal  Journal
	Log      hclog.Logger

	SnapshotEvery time.Duration // default 5 min
	MaxBytes      int64         // of the outbox; default 64 MiB
	MaxAge        time.Duration // of a record in the outbox; default 7 days
	Timeout       time.Duration // of one attempt; default 30 s
	Flush         time.Duration // for what is pending at the end; default 5 s
}

// trimEvery is how often the outbox is brought inside its bounds, and how soon
// at the latest a record is noticed that nobody called Wake for.
const trimEvery = time.Minute

// Delivery feeds every reporter. Its methods may be called concurrently.
type Delivery struct {
	o       Options
	changed chan struct{} // holds a token when the wanted set is new

	mu      sync.Mutex // guards what follows
	wanted  []core.ReporterInfo
	known   bool // SetReporters was called
	workers map[string]*worker
}

// New makes a Delivery. It has no reporters until SetReporters, and does
// nothing until Run.
func New(o Options) *Delivery {
	o.SnapshotEvery = cmp.Or(o.SnapshotEvery, 5*time.Minute)
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20)
	o.MaxAge = cmp.Or(o.MaxAge, 7*24*time.Hour)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.Flush = cmp.Or(o.Flush, 5*time.Second)
	return &Delivery{o: o, changed: make(chan struct{}, 1), workers: map[string]*worker{}}
}

// SetReporters says which reporters are configured: all of them, whether or not
// their plugins serve right now. One that is no longer among them for a minute
// loses its place in the outbox. Empty Wants means that it is not known yet
// what the reporter wants; nothing is sent to it, and everything is kept for it.
func (d *Delivery) SetReporters(full []core.ReporterInfo) {
	d.mu.Lock()
	d.wanted, d.known = slices.Clone(full), true
	d.mu.Unlock()
	signal(d.changed)
}

// Register gives every reporter that is configured its place in the outbox, so
// that what happens before Run is not lost on it. The error is the outbox's.
func (d *Delivery) Register(ctx context.Context) error {
	d.mu.Lock()
	wanted := slices.Clone(d.wanted)
	d.mu.Unlock()
	for _, info := range wanted {
		if !spools(info) {
			continue
		}
		if err := d.o.Outbox.AddReporter(ctx, info.Name, info.Wants); err != nil {
			return fmt.Errorf("add reporter to outbox: %w", err)
		}
	}
	return nil
}

// Wake says that something new was committed.
func (d *Delivery) Wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.workers {
		signal(w.wake)
	}
}

// Run delivers until ctx ends, then goes on for at most Options.Flush with what
// is pending for reporters that were taking it. The error is always nil.
func (d *Delivery) Run(ctx context.Context) error {
	hard, cancel := outlive(ctx, d.o.Flush)
	defer cancel()
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	d.trim(ctx)
	for {
		select {
		case <-ctx.Done():
			d.stop(d.running(nil))
			return nil
		case <-d.changed:
			d.reconcile(ctx, hard)
		case <-tick.C:
			d.dropCursors(ctx)
			d.trim(ctx)
			d.Wake()
		}
	}
}

// outlive returns a context that ends a given time after ctx does.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(by, cancel)
		context.AfterFunc(hard, func() { timer.Stop() })
	})
	return hard, func() { stop(); cancel() }
}

// signal leaves a token in a channel of one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
