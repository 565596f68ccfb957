package delivery

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// firstSnapshot is how soon a snapshot is sent when nothing was measured
	// since the worker began, firstSnapshotAfterNews how soon when something
	// was: long enough for the other peers of a mesh that starts to turn up.
	firstSnapshot          = 10 * time.Second
	firstSnapshotAfterNews = 2 * time.Second
	// forever stands for "until something happens".
	forever = 24 * time.Hour
)

// worker feeds one reporter: one batch at a time, so that one goroutine is all
// the order there is to keep.
type worker struct {
	d      *Delivery
	info   core.ReporterInfo
	wake   chan struct{}
	cancel context.CancelFunc // drops the attempt in hand
	done   chan struct{}

	spooled    bool // wants records of the outbox
	registered bool // has its cursor
	snapshots  bool
	first      bool      // no snapshot was tried yet
	due        time.Time // of the next snapshot
	sequence   uint64    // of the last snapshot
	refused    int       // times in a row that a snapshot was refused for good
	search     search
	failures   int       // in a row
	nextTry    time.Time // zero unless the last attempt failed

	mu     sync.Mutex // guards status
	status core.ReporterStatus
}

// spools tells that a reporter wants records of the outbox.
func spools(info core.ReporterInfo) bool {
	return slices.ContainsFunc(info.Wants, func(k core.RecordKind) bool { return k != core.RecordSnapshot })
}

func startWorker(d *Delivery, info core.ReporterInfo, soft, hard context.Context) *worker {
	hard, cancel := context.WithCancel(hard)
	w := &worker{
		d: d, info: info, wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
		spooled:   spools(info),
		snapshots: slices.Contains(info.Wants, core.RecordSnapshot),
		first:     true,
		due:       time.Now().Add(firstSnapshot),
		search:    search{ceiling: maxRecords},
		status:    core.ReporterStatus{Name: info.Name, Plugin: info.Plugin, Kind: info.Kind},
	}
	go func() {
		defer close(w.done)
		defer cancel()
		w.run(soft, hard)
	}()
	return w
}

// run works until soft ends, and then sends what is pending as long as hard
// lasts and the reporter takes it.
func (w *worker) run(soft, hard context.Context) {
	for soft.Err() == nil && hard.Err() == nil {
		w.sleep(soft, hard, w.step(hard))
	}
	for w.spooled && w.failures == 0 && hard.Err() == nil {
		if !w.sendPending(hard) {
			return
		}
	}
}

// step does what is due and returns how long nothing else is.
func (w *worker) step(ctx context.Context) time.Duration {
	if wait := time.Until(w.nextTry); wait > 0 {
		return wait
	}
	if w.snapshots && time.Until(w.due) <= 0 {
		w.sendSnapshot(ctx)
		return 0
	}
	if w.spooled && w.sendPending(ctx) {
		return 0
	}
	switch {
	case time.Until(w.nextTry) > 0:
		return time.Until(w.nextTry)
	case w.snapshots:
		return time.Until(w.due)
	}
	return forever
}

// sleep waits; news ends that early, to have another look at what is due.
func (w *worker) sleep(soft, hard context.Context, wait time.Duration) {
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-soft.Done():
	case <-hard.Done():
	case <-timer.C:
	case <-w.wake:
		w.news()
	}
}

// news brings the first snapshot forward.
func (w *worker) news() {
	if soon := time.Now().Add(firstSnapshotAfterNews); w.first && soon.Before(w.due) {
		w.due = soon
	}
}

// deliver is one attempt.
func (w *worker) deliver(ctx context.Context, recs []core.Record) (core.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, w.d.o.Timeout)
	defer cancel()
	return w.d.o.Deliver(ctx, w.info.Name, recs)
}
