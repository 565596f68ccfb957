package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// AddReporter gives a new reporter a cursor behind the newest record; of a known
// one it only sets which kinds it wants.
func (s *Store) AddReporter(ctx context.Context, name string, wants []core.RecordKind) error {
	if name == "" {
		return errors.New("add reporter: it has no name")
	}
	words := make([]string, 0, len(wants))
	for _, w := range wants {
		words = append(words, clean(string(w), maxNameBytes))
	}
	row := cursorRow{Reporter: clean(name, maxNameBytes), Wants: strings.Join(words, " ")}
	return s.write(ctx, func(ctx context.Context, c *commit) error {
		var err error
		if row.AckedSeq, err = c.newestSeq(ctx); err != nil {
			return err
		}
		_, err = c.tx.NewInsert().Model(&row).On("CONFLICT (reporter) DO UPDATE").Set("wants = EXCLUDED.wants").Exec(ctx)
		if err != nil {
			return fmt.Errorf("add reporter %s: %w", row.Reporter, err)
		}
		return c.dropDelivered(ctx)
	})
}

// RemoveReporter forgets the cursor and what only that reporter wanted.
func (s *Store) RemoveReporter(ctx context.Context, name string) error {
	return s.write(ctx, func(ctx context.Context, c *commit) error {
		if _, err := c.tx.NewDelete().Model((*cursorRow)(nil)).Where("reporter = ?", clean(name, maxNameBytes)).Exec(ctx); err != nil {
			return fmt.Errorf("remove reporter %s: %w", name, err)
		}
		return c.dropDelivered(ctx)
	})
}

// Acknowledge tells that the reporter has everything through this sequence
// number. A number behind the cursor changes nothing.
func (s *Store) Acknowledge(ctx context.Context, reporter string, through uint64) error {
	return s.write(ctx, func(ctx context.Context, c *commit) error {
		newest, err := c.newestSeq(ctx)
		if err != nil {
			return err
		}
		acked := int64(min(through, uint64(newest))) // nobody has what does not exist yet
		_, err = c.tx.NewUpdate().Model((*cursorRow)(nil)).Set("acked_seq = ?", acked).
			Where("reporter = ? AND acked_seq < ?", clean(reporter, maxNameBytes), acked).Exec(ctx)
		if err != nil {
			return fmt.Errorf("acknowledge %s: %w", reporter, err)
		}
		return c.dropDelivered(ctx)
	})
}

// newestSeq is the last sequence number in the outbox, 0 when it is empty.
func (c *commit) newestSeq(ctx context.Context) (seq int64, err error) {
	if err = c.tx.NewSelect().Model((*outboxRow)(nil)).ColumnExpr("COALESCE(MAX(seq), 0)").Scan(ctx, &seq); err != nil {
		return 0, fmt.Errorf("read outbox: %w", err)
	}
	return seq, nil
}

// saveRecords puts records into the outbox.
func (c *commit) saveRecords(ctx context.Context, records []core.Record) error {
	rows := make([]outboxRow, len(records))
	for i, r := range records {
		r.Kind = core.RecordKind(clean(string(r.Kind), maxNameBytes))
		if r.At.IsZero() {
			r.At = c.now
		}
		rows[i] = outboxRow{Kind: string(r.Kind), AtMS: r.At.UnixMilli(), Payload: r.Payload}
		if rows[i].Payload == nil {
			rows[i].Payload = []byte{}
		}
		if _, ok := c.w.sent[r.Kind]; !ok {
			c.w.sent[r.Kind] = 0
		}
	}
	for part := range slices.Chunk(rows, insertRows/4) {
		if _, err := c.tx.NewInsert().Model(&part).ExcludeColumn("seq").Returning("").Exec(ctx); err != nil {
			return fmt.Errorf("insert records: %w", err)
		}
	}
	return nil
}

// dropDelivered deletes what every reporter that wants it has acknowledged.
// What lies behind sent was deleted before and is not looked at again.
func (c *commit) dropDelivered(ctx context.Context) error {
	cursors, err := readCursors(ctx, c.tx)
	if err != nil {
		return err
	}
	newest, err := c.newestSeq(ctx)
	if err != nil {
		return err
	}
	for kind, before := range c.w.sent {
		through := min(deliveredThrough(cursors, kind), newest)
		if through <= before {
			continue
		}
		_, err := c.tx.NewDelete().Model((*outboxRow)(nil)).Where("seq > ? AND seq <= ? AND kind = ?", before, through, kind).Exec(ctx)
		if err != nil {
			return fmt.Errorf("delete delivered records: %w", err)
		}
		c.onSuccess(func() { c.w.sent[kind] = through })
	}
	return nil
}

// loadKinds is the kinds in the outbox, nothing of them known to be sent.
func loadKinds(ctx context.Context, db bun.IDB) (map[core.RecordKind]int64, error) {
	var kinds []core.RecordKind
	if err := db.NewSelect().Model((*outboxRow)(nil)).ColumnExpr("DISTINCT kind").Scan(ctx, &kinds); err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	sent := map[core.RecordKind]int64{}
	for _, kind := range kinds {
		sent[kind] = 0
	}
	return sent, nil
}

type cursor struct {
	reporter string
	acked    int64
	wants    []core.RecordKind
}

func readCursors(ctx context.Context, db bun.IDB) ([]cursor, error) {
	var rows []cursorRow
	if err := db.NewSelect().Model(&rows).Order("reporter").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	cursors := make([]cursor, len(rows))
	for i, r := range rows {
		cursors[i] = cursor{reporter: r.Reporter, acked: r.AckedSeq}
		for _, w := range strings.Fields(r.Wants) {
			cursors[i].wants = append(cursors[i].wants, core.RecordKind(w))
		}
	}
	return cursors, nil
}

// deliveredThrough is the least cursor of those who want kind.
func deliveredThrough(cursors []cursor, kind core.RecordKind) int64 {
	through := int64(1) << 62
	for _, c := range cursors {
		if slices.Contains(c.wants, kind) {
			through = min(through, c.acked)
		}
	}
	return through
}

// Pending is what the reporter wants and has not acknowledged, in order: as many
// records as fit, one at least if there is any. None for an unknown reporter.
func (s *Store) Pending(ctx context.Context, reporter string, maxRecords, maxBytes int) ([]core.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	cursors, err := readCursors(ctx, s.reader)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(cursors, func(c cursor) bool { return c.reporter == clean(reporter, maxNameBytes) })
	if i < 0 || len(cursors[i].wants) == 0 {
		return nil, nil
	}
	rows, err := s.reader.NewSelect().Model((*outboxRow)(nil)).Column("seq", "kind", "at_ms", "payload").
		Where("seq > ? AND kind IN (?)", cursors[i].acked, bun.List(cursors[i].wants)).
		Order("seq").Limit(int64(max(maxRecords, 1))).Rows(ctx)
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	defer rows.Close()
	var pending []core.Record
	for bytes := 0; rows.Next(); {
		var r core.Record
		var ms int64
		if err := rows.Scan(&r.Seq, &r.Kind, &ms, &r.Payload); err != nil {
			return nil, fmt.Errorf("read outbox: %w", err)
		}
		bytes += len(r.Payload)
		if len(pending) > 0 && bytes > maxBytes {
			break
		}
		r.At = time.UnixMilli(ms)
		pending = append(pending, r)
	}
	return pending, rows.Err()
}

// Backlog counts by reporter what it wants and has not acknowledged. It names
// every reporter that has a cursor.
func (s *Store) Backlog(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	cursors, err := readCursors(ctx, s.reader)
	if err != nil {
		return nil, err
	}
	backlog := make(map[string]int, len(cursors))
	for _, c := range cursors {
		backlog[c.reporter] = 0
		if len(c.wants) == 0 {
			continue
		}
		n, err := s.reader.NewSelect().Model((*outboxRow)(nil)).Where("seq > ? AND kind IN (?)", c.acked, bun.List(c.wants)).Count(ctx)
		if err != nil {
			return nil, fmt.Errorf("count outbox: %w", err)
		}
		backlog[c.reporter] = int(n)
	}
	return backlog, nil
}
