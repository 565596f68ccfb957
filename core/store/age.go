package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// A wrong clock must not empty the history. So nothing is old because the clock
// says so: what is to be kept for 24 hours goes when by the clock it is older, and
// there are results of 24 later hours.

// ago is d before now, or earlier when the hours (of more than Raw, the days) with
// results do not add up to d by then; 0 when all of them do not.
func (s *Store) ago(ctx context.Context, db bun.IDB, now time.Time, d time.Duration) (ms int64, err error) {
	table, unit, n := "chunk", int64(hourMS), int64(d/time.Hour)+1
	if d > s.o.Raw {
		table, unit = "rollup", dayHours*hourMS
		n = max(1, min(d, s.o.Rollup).Milliseconds()/unit)
	}
	at, err := nthNewest(ctx, db, table, now.UnixMilli()/unit, n)
	return min(now.Add(-d).UnixMilli(), at*unit), err
}

// tooOld is the hour or day from which on a table is kept: cut or, as long as
// there are not enough from there through last, an earlier one.
func (w *writer) tooOld(ctx context.Context, table string, cut, last int64) (int64, error) {
	first, err := w.firstID(ctx, table)
	if err != nil || first == 0 {
		return 0, err
	}
	if first>>seriesBits >= cut {
		return cut, nil
	}
	at, err := nthNewest(ctx, w.db, table, last, last-cut+1)
	return min(cut, at), err
}

// nthNewest is the nth hour of chunks or day of roll-ups, from last backwards; 0
// when there are fewer.
func nthNewest(ctx context.Context, db bun.IDB, table string, last, n int64) (at int64, err error) {
	const q = `WITH RECURSIVE h(at, i) AS (
  SELECT MAX(id) >> ?1, 1 FROM ?0 WHERE id < ?2
  UNION ALL
  SELECT (SELECT MAX(id) >> ?1 FROM ?0 WHERE id < h.at << ?1), i + 1 FROM h WHERE at IS NOT NULL AND i < ?3
) SELECT COALESCE(MIN(at), 0) FROM h WHERE i = ?3`
	err = db.NewRaw(q, bun.Ident(table), seriesBits, (last+1)<<seriesBits, n).Scan(ctx, &at)
	if err != nil {
		return 0, fmt.Errorf("read age of results: %w", err)
	}
	return at, nil
}

// fitProgress brings progress back to the present after a clock was ahead: hours
// that come again would only get sums until it is there. After one was behind, it
// leaves the past.
func (w *writer) fitProgress(ctx context.Context, now time.Time) (more bool, err error) {
	present, p := now.UnixMilli()/hourMS, w.progress
	switch {
	case p.raw > present+1:
		a, err := w.oldest(ctx)
		if err != nil {
			return false, err
		}
		if a.all > 0 && a.all/hourMS <= present { // or it is now that the clock is wrong
			p.raw = present + 1 // this hour may have had results before
		}
	case p.raw > 0:
		first, err := w.chunkEdge(ctx, "MIN(id)", "id > ?", 0)
		if err != nil {
			return false, err
		}
		if first-p.raw > dayHours && first <= present+1 {
			hidden, err := w.db.NewSelect().Model((*rollupRow)(nil)).
				Where("id BETWEEN ? AND ?", p.raw/dayHours<<seriesBits, first/dayHours<<seriesBits-1).Exists(ctx)
			if err != nil {
				return false, fmt.Errorf("read age of roll-ups: %w", err)
			}
			if hidden {
				p.raw = first
			}
		}
	}
	if p.rolled > present+1 {
		p.rolled, w.rolling = present/dayHours*dayHours, rolling{}
	}
	if p == w.progress {
		return false, nil
	}
	return false, w.inTx(ctx, func(ctx context.Context, c *commit) error {
		c.onSuccess(func() { w.progress = p })
		if err := c.setProgress(ctx, "raw_hour", p.raw); err != nil {
			return err
		}
		return c.setProgress(ctx, "rolled_hour", p.rolled)
	})
}
