package delivery

import (
	"context"
	"fmt"
	"slices"

	"github.com/seahow-uk/nodeprobe/core"
)

// trim brings the outbox inside its bounds and tells what that cost.
func (d *Delivery) trim(ctx context.Context) {
	gaps, err := d.o.Outbox.TrimOutbox(ctx, d.o.MaxBytes, d.o.MaxAge)
	if err != nil && ctx.Err() == nil {
		d.o.Log.Warn("outbox not trimmed", "error", err)
	}
	for _, g := range gaps {
		d.gap(g, fmt.Sprintf("the outbox is bounded to %d bytes and %s", d.o.MaxBytes, d.o.MaxAge))
	}
}

// gap tells that records were dropped before a reporter took them.
func (d *Delivery) gap(g core.Gap, why string) {
	what, them := fmt.Sprintf("%d records, %d to %d,", g.Count, g.From, g.To), "them"
	if g.Count == 1 {
		what, them = fmt.Sprintf("1 record, %d,", g.From), "it"
	}
	d.o.Log.Warn("records dropped", "reporter", g.Reporter, "records", g.Count, "from", g.From, "to", g.To, "reason", why)
	d.o.Journal.Note(core.EventReportGap, g.Reporter, fmt.Sprintf("%s dropped before %s took %s: %s", what, g.Reporter, them, why))
}

// dropCursors forgets reporters that are no longer configured, so that nothing
// is kept, or told as dropped, on their account.
func (d *Delivery) dropCursors(ctx context.Context) {
	backlog, err := d.o.Outbox.Backlog(ctx)
	if err != nil {
		return // the same store's error is told by trim
	}
	d.mu.Lock()
	wanted, known := d.wanted, d.known
	d.mu.Unlock()
	for name := range backlog {
		keeps := func(i core.ReporterInfo) bool { return i.Name == name && (len(i.Wants) == 0 || spools(i)) }
		if !known || slices.ContainsFunc(wanted, keeps) {
			continue
		}
		if err := d.o.Outbox.RemoveReporter(ctx, name); err != nil && ctx.Err() == nil {
			d.o.Log.Warn("reporter not removed from outbox", "reporter", name, "error", err)
		}
	}
}
