package delivery

import (
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// Records is what the store appends to the outbox in the transaction that
// writes rs and es: nothing of a kind that no reporter wants.
func (d *Delivery) Records(rs []core.Result, es []core.Event) []core.Record {
	var recs []core.Record
	if len(rs) > 0 && d.wants(core.RecordResult) {
		for _, r := range rs {
			recs = append(recs, core.Record{Kind: core.RecordResult, At: r.At(), Payload: wire.EncodeResult(r)})
		}
	}
	if len(es) > 0 && d.wants(core.RecordEvent) {
		for _, e := range es {
			recs = append(recs, core.Record{Kind: core.RecordEvent, At: eventTime(e), Payload: wire.EncodeEvent(e)})
		}
	}
	return recs
}

// eventTime is when the event last changed.
func eventTime(e core.Event) (at time.Time) {
	if e.Ended.IsZero() {
		return e.Began
	}
	return e.Ended
}

// wants tells that a record of the kind may have a taker.
func (d *Delivery) wants(kind core.RecordKind) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.wanted, func(i core.ReporterInfo) bool {
		return len(i.Wants) == 0 || slices.Contains(i.Wants, kind)
	})
}
