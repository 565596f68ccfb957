package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// nothingTaken is the problem of a receipt that names none, and takes nothing.
const nothingTaken = "the receipt acknowledges none of the records"

// sendPending makes one attempt at the next records of the outbox. It tells
// whether to go on at once.
func (w *worker) sendPending(ctx context.Context) bool {
	recs, err := w.pending(ctx)
	if err != nil {
		w.failed(err.Error(), w.failures, 0)
		return false
	}
	if len(recs) == 0 {
		return false
	}
	receipt, err := w.deliver(ctx, recs)
	if err != nil {
		w.failed(err.Error(), w.failures, 0)
		return false
	}
	taken := takenOf(recs, receipt.Through)
	if taken > 0 {
		if err := w.d.o.Outbox.Acknowledge(ctx, w.info.Name, recs[taken-1].Seq); err != nil {
			w.failed(err.Error(), w.failures, 0)
			return false
		}
		w.search.accepted(taken)
		w.succeeded(taken)
	}
	return w.judge(ctx, recs[taken:], taken, receipt)
}

// pending reads the next batch; the reporter gets its cursor first.
func (w *worker) pending(ctx context.Context) ([]core.Record, error) {
	if !w.registered {
		if err := w.d.o.Outbox.AddReporter(ctx, w.info.Name, w.info.Wants); err != nil {
			return nil, fmt.Errorf("add reporter to outbox: %w", err)
		}
		w.registered = true
	}
	recs, err := w.d.o.Outbox.Pending(ctx, w.info.Name, w.search.size(), maxBytes)
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return recs, nil
}

// takenOf counts the records up to through. A plugin that claims more than it
// was given acknowledges what it was given.
func takenOf(recs []core.Record, through uint64) int {
	n := 0
	for n < len(recs) && recs[n].Seq <= through {
		n++
	}
	return n
}

// judge acts on a receipt that left rest over, and tells whether to go on at once.
func (w *worker) judge(ctx context.Context, rest []core.Record, taken int, r core.Receipt) bool {
	switch {
	case len(rest) == 0:
		return true
	case r.Problem == "" && taken > 0:
		return true
	case r.Problem == "":
		w.failed(nothingTaken, w.failures, 0)
		return false
	case r.Retryable:
		w.failed(r.Problem, w.failures, r.RetryAfter)
		return false
	}
	if w.search.refused(len(rest)) {
		w.skip(ctx, rest[0], r.Problem)
	}
	w.failed(r.Problem, w.search.patience(), 0)
	return false
}

// skip gives up a record that the receiver never takes.
func (w *worker) skip(ctx context.Context, rec core.Record, problem string) {
	if err := w.d.o.Outbox.Acknowledge(ctx, w.info.Name, rec.Seq); err != nil {
		return // it is tried, refused and skipped again
	}
	g := core.Gap{Reporter: w.info.Name, From: rec.Seq, To: rec.Seq, Count: 1}
	w.d.gap(g, fmt.Sprintf("refused %d times: %s", refusals, core.CleanText(problem, 160)))
}

// failed sets the next attempt, after the nth failure (from 0) or when the
// receiver says, and tells the first failure in a row.
func (w *worker) failed(problem string, n int, after time.Duration) {
	wait := pause(n)
	if after > 0 {
		wait = min(after, longestRetryAfter)
	}
	w.failures++
	w.nextTry = time.Now().Add(wait)
	level := w.d.o.Log.Debug
	if w.failures == 1 {
		level = w.d.o.Log.Warn
	}
	problem = core.CleanText(problem, 256)
	level("delivery failed", "reporter", w.info.Name, "failures", w.failures, "next_try", wait, "error", problem)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.LastError, w.status.NextTry = problem, w.nextTry
}

// succeeded notes that the receiver took n records.
func (w *worker) succeeded(n int) {
	if w.failures > 0 {
		w.d.o.Log.Info("delivery recovered", "reporter", w.info.Name, "failures", w.failures)
	}
	w.failures, w.nextTry = 0, time.Time{}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.LastSuccess, w.status.LastError, w.status.NextTry = time.Now(), "", time.Time{}
	w.status.Delivered += uint64(n)
}
