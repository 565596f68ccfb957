package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// sendSnapshot makes a snapshot and one attempt to deliver it. A later attempt
// makes a new one: what the receiver gets is never older than the attempt.
func (w *worker) sendSnapshot(ctx context.Context) {
	w.first = false
	snap, err := w.d.o.Snapshot(ctx)
	if err != nil {
		w.failed(fmt.Sprintf("make snapshot: %v", err), w.failures, 0)
		return
	}
	w.sequence++
	snap.Seq = w.sequence
	receipt, err := w.deliver(ctx, []core.Record{snap})
	switch {
	case err != nil:
		w.failed(err.Error(), w.failures, 0)
	case receipt.Problem != "" && receipt.Retryable:
		w.failed(receipt.Problem, w.failures, receipt.RetryAfter)
	case receipt.Problem != "":
		w.refuseSnapshot(receipt.Problem)
	case receipt.Through < snap.Seq:
		w.failed(nothingTaken, w.failures, 0)
	default:
		w.refused = 0
		w.succeeded(1)
		w.due = time.Now().Add(around(w.d.o.SnapshotEvery))
	}
}

// refuseSnapshot tries again a little later, and in the end leaves it to the
// next snapshot, which may be acceptable.
func (w *worker) refuseSnapshot(problem string) {
	w.refused++
	w.failed(problem, w.refused-1, 0)
	if w.refused >= refusals {
		w.refused = 0
		w.due = time.Now().Add(around(w.d.o.SnapshotEvery))
	}
}
