package cmd

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/store"
)

// memory is the store with what it has not taken: while it cannot be written, or
// not even be read, questions are answered from memory as far as that goes.
type memory struct {
	*store.Store
	engine  *core.Engine
	journal *core.Journal
}

// History has the waiting results in it. They are asked for last: a result may
// be missing for a moment, but is never counted twice.
func (m memory) History(ctx context.Context, q core.HistoryQuery) ([]core.Bucket, error) {
	buckets, err := m.Store.History(ctx, q)
	if errors.Is(err, store.ErrBadQuery) {
		return nil, err
	}
	waiting := m.engine.Waiting(q.Node, q.Probe)
	if err != nil {
		if len(waiting) == 0 {
			return nil, err
		}
		buckets = q.Buckets()
	}
	for _, r := range waiting {
		q.Add(buckets, r)
	}
	return buckets, nil
}

// Matrix of now is empty when it cannot be read: self's own row is in memory anyway.
func (m memory) Matrix(ctx context.Context, q core.MatrixQuery) (core.Matrix, error) {
	rows, err := m.Store.Matrix(ctx, q)
	if err != nil && q.At.IsZero() && m.Store.Check(ctx) != nil { // which health tells
		return nil, nil
	}
	return rows, err
}

// Events has those that wait, as they are now.
func (m memory) Events(ctx context.Context, q core.EventQuery) ([]core.Event, error) {
	waiting := m.journal.Unsaved()
	events, err := m.Store.Events(ctx, q)
	if err != nil {
		waiting = append(m.journal.Open(), waiting...)
	}
	if err != nil && len(waiting) == 0 {
		return nil, err
	}
	for _, e := range waiting {
		events = slices.DeleteFunc(events, func(o core.Event) bool {
			return o.Kind == e.Kind && o.Subject == e.Subject && o.Began.Equal(e.Began)
		})
		if asked(q, e) {
			events = append(events, e)
		}
	}
	slices.SortStableFunc(events, func(a, b core.Event) int { return b.Began.Compare(a.Began) })
	return events[:min(len(events), cmp.Or(max(q.Limit, 0), 100))], nil
}

// asked tells that an event is among those that a query selects.
func asked(q core.EventQuery, e core.Event) bool {
	return (q.Kind == "" || q.Kind == e.Kind) && (q.Subject == "" || q.Subject == e.Subject) &&
		(!q.Open || e.Ended.IsZero()) && (q.Since.IsZero() || e.Ended.IsZero() || !e.Ended.Before(q.Since)) &&
		(q.Until.IsZero() || e.Began.Before(q.Until))
}
