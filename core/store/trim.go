package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// trimRows go in one transaction, so that the writer is never held up long.
	trimRows = 1000
	// outboxShare of MaxBytes is what the outbox may take at most, whatever the
	// caller allows: a reporter that is gone must not cost the history.
	outboxShare = 4
)

// TrimOutbox drops the oldest records until what is left is younger than maxAge
// (see ago) and its payloads have at most maxBytes, or a quarter of
// Options.MaxBytes. It returns what each reporter has lost by that.
func (s *Store) TrimOutbox(ctx context.Context, maxBytes int64, maxAge time.Duration) ([]core.Gap, error) {
	through, err := s.trimThrough(ctx, min(maxBytes, s.o.MaxBytes/outboxShare), maxAge)
	if err != nil || through == 0 {
		return nil, err
	}
	var gaps []core.Gap
	for more := true; more; {
		err := s.write(ctx, func(ctx context.Context, c *commit) error {
			step, rest, err := c.trimOutbox(ctx, through)
			if err == nil {
				c.onSuccess(func() { gaps, more = joinGaps(gaps, step), rest })
			}
			return err
		})
		if err != nil {
			return gaps, fmt.Errorf("trim outbox: %w", err)
		}
	}
	return gaps, nil
}

// trimThrough is the last sequence number to drop, 0 for none.
func (s *Store) trimThrough(ctx context.Context, maxBytes int64, maxAge time.Duration) (through int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	from, err := s.ago(ctx, s.reader, s.o.Now(), maxAge)
	if err != nil {
		return 0, err
	}
	var size int64
	err = s.reader.NewSelect().Model((*outboxRow)(nil)).
		ColumnExpr("COALESCE(SUM(LENGTH(payload)), 0), COALESCE(MAX(CASE WHEN at_ms < ? THEN seq END), 0)", from).
		Scan(ctx, &size, &through)
	if err != nil {
		return 0, fmt.Errorf("measure outbox: %w", err)
	}
	if size <= maxBytes {
		return through, nil
	}
	rows, err := s.reader.NewSelect().Model((*outboxRow)(nil)).ColumnExpr("seq, LENGTH(payload)").Order("seq").Rows(ctx)
	if err != nil {
		return 0, fmt.Errorf("measure outbox: %w", err)
	}
	defer rows.Close()
	for size > maxBytes && rows.Next() {
		var seq, n int64
		if err := rows.Scan(&seq, &n); err != nil {
			return 0, fmt.Errorf("measure outbox: %w", err)
		}
		through, size = max(through, seq), size-n
	}
	return through, rows.Err()
}

// trimOutbox drops up to trimRows of the oldest records; rest tells that there
// are more.
func (c *commit) trimOutbox(ctx context.Context, through int64) (gaps []core.Gap, rest bool, err error) {
	var last []int64
	err = c.tx.NewSelect().Model((*outboxRow)(nil)).Column("seq").Where("seq <= ?", through).
		Order("seq").Offset(trimRows-1).Limit(1).Scan(ctx, &last)
	if err != nil {
		return nil, false, err
	}
	if rest = len(last) > 0 && last[0] < through; rest {
		through = last[0]
	}
	cursors, err := readCursors(ctx, c.tx)
	if err != nil {
		return nil, false, err
	}
	for _, k := range cursors {
		gap, err := c.gap(ctx, k, through)
		if err != nil {
			return nil, false, err
		}
		if gap.Count > 0 {
			gaps = append(gaps, gap)
		}
	}
	if _, err = c.tx.NewUpdate().Model((*cursorRow)(nil)).Set("acked_seq = ?", through).Where("acked_seq < ?", through).Exec(ctx); err != nil {
		return nil, false, err
	}
	_, err = c.tx.NewDelete().Model((*outboxRow)(nil)).Where("seq <= ?", through).Exec(ctx)
	return gaps, rest, err
}

// gap is what k loses when everything through goes.
func (c *commit) gap(ctx context.Context, k cursor, through int64) (core.Gap, error) {
	gap := core.Gap{Reporter: k.reporter}
	if len(k.wants) == 0 {
		return gap, nil
	}
	err := c.tx.NewSelect().Model((*outboxRow)(nil)).ColumnExpr("COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0), COUNT(*)").
		Where("seq > ? AND seq <= ? AND kind IN (?)", k.acked, through, bun.List(k.wants)).Scan(ctx, &gap.From, &gap.To, &gap.Count)
	return gap, err
}

// joinGaps adds the gaps of one more step: each reporter has one at most.
func joinGaps(all, step []core.Gap) []core.Gap {
	for _, g := range step {
		i := slices.IndexFunc(all, func(o core.Gap) bool { return o.Reporter == g.Reporter })
		if i < 0 {
			all = append(all, g)
			continue
		}
		all[i].To, all[i].Count = g.To, all[i].Count+g.Count
	}
	return all
}
