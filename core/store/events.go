package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	defaultEvents = 100
	maxEvents     = 1000
	// keptEventsFor is how long events are kept that have ended.
	keptEventsFor = 30 * 24 * time.Hour
	// One in eventShare of MaxBytes is what events may take, one in eventLeast what
	// they have for themselves: more of them goes first when room is short.
	eventShare = 4
	eventLeast = 20
)

// SaveEvents stores events by kind, subject and begin (to the microsecond), and
// gives each its ID. An open event ends the one of its kind and subject that was
// open before it.
func (s *Store) SaveEvents(ctx context.Context, events []core.Event) error {
	if len(events) == 0 {
		return nil
	}
	r := &request{events: slices.Clone(events)}
	if err := s.submit(ctx, r); err != nil {
		return err
	}
	copy(events, r.events)
	return nil
}

func (c *commit) saveEvents(ctx context.Context, events []core.Event) error {
	for i, e := range events {
		row := eventRow{
			Kind: clean(string(e.Kind), maxNameBytes), Subject: clean(e.Subject, maxMessage), Source: clean(e.Source, maxNameBytes), Message: clean(e.Message, 2*maxMessage),
			BeganUS: e.Began.UnixMicro(), EndedUS: micros(e.Ended),
		}
		if row.EndedUS == nil {
			_, err := c.tx.NewUpdate().Model((*eventRow)(nil)).Set("ended_us = ?", row.BeganUS).
				Where("kind = ? AND subject = ? AND ended_us IS NULL AND began_us <> ?", row.Kind, row.Subject, row.BeganUS).Exec(ctx)
			if err != nil {
				return fmt.Errorf("end event: %w", err)
			}
		}
		_, err := c.tx.NewInsert().Model(&row).On("CONFLICT (kind, subject, began_us) DO UPDATE").
			Set("message = EXCLUDED.message, source = EXCLUDED.source, ended_us = EXCLUDED.ended_us").Returning("id").Exec(ctx)
		if err != nil {
			return fmt.Errorf("save event %s: %w", row.Kind, err)
		}
		events[i].ID = uint64(row.ID)
	}
	return nil
}

// Events selects events, newest first; at most 1000.
func (s *Store) Events(ctx context.Context, q core.EventQuery) ([]core.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	limit := q.Limit
	if limit <= 0 {
		limit = defaultEvents
	}
	var rows []eventRow
	sel := s.reader.NewSelect().Model(&rows).Order("began_us DESC", "id DESC").Limit(int64(min(limit, maxEvents)))
	if !q.Since.IsZero() {
		sel = sel.Where("(ended_us IS NULL OR ended_us >= ?)", q.Since.UnixMicro())
	}
	if !q.Until.IsZero() {
		sel = sel.Where("began_us < ?", q.Until.UnixMicro())
	}
	if q.Kind != "" {
		sel = sel.Where("kind = ?", clean(string(q.Kind), maxNameBytes))
	}
	if q.Subject != "" {
		sel = sel.Where("subject = ?", clean(q.Subject, maxMessage))
	}
	if q.Open {
		sel = sel.Where("ended_us IS NULL")
	}
	if err := sel.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	events := make([]core.Event, len(rows))
	for i, r := range rows {
		events[i] = r.event()
	}
	return events, nil
}

func (r eventRow) event() core.Event {
	e := core.Event{
		ID: uint64(r.ID), Kind: core.EventKind(r.Kind), Subject: r.Subject, Source: r.Source, Message: r.Message, Began: time.UnixMicro(r.BeganUS),
	}
	if r.EndedUS != nil {
		e.Ended = time.UnixMicro(*r.EndedUS)
	}
	return e
}

// micros is nil for the zero time.
func micros(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := t.UnixMicro()
	return &us
}
