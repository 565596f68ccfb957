package store

import (
	"context"
	"database/sql"

	"github.com/uptrace/bun"
)

// idsInQuery are looked for by one statement.
const idsInQuery = 250

// snapshot is the database at one moment, for questions that look at the tail
// and at what is packed: meanwhile results move from one to the other. It pins
// the WAL, so it must end soon.
type snapshot struct {
	tx  bun.Tx
	raw int64 // progress.raw
}

func (s *Store) snapshot(ctx context.Context, do func(*snapshot) error) error {
	options := s.db.traits().snapshot
	tx, err := s.reader.BeginTx(ctx, &options)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	snap := &snapshot{tx: tx}
	if err := tx.NewSelect().Model((*progressRow)(nil)).Column("hour").Where("name = 'raw_hour'").Scan(ctx, &snap.raw); err != nil {
		return err
	}
	return s.saw(do(snap))
}

// chunkHours is the hours from from to to, ms, that chunks count of: first to end.
// Of an hour that is being dropped some are left, and the sums have all of it.
func (s *snapshot) chunkHours(ctx context.Context, from, to int64) (first, end int64, err error) {
	for of, hour := range map[string]*int64{"MIN(id)": &first, "MAX(id)": &end} {
		err := s.tx.NewSelect().Model((*chunkRow)(nil)).ColumnExpr("COALESCE("+of+", 0) >> ?", seriesBits).Scan(ctx, hour)
		if err != nil {
			return 0, 0, err
		}
	}
	return max(first, from/hourMS, s.raw), min(end, (to-1)/hourMS) + 1, nil
}

// packed calls do with what table has of these series at times from from to
// before end, in the order of time; data is valid until do returns.
func (s *snapshot) packed(ctx context.Context, table string, from, end int64, series []int64, do func(at, series int64, data []byte)) error {
	if len(series) == 0 {
		return nil
	}
	step := max(1, idsInQuery/int64(len(series)))
	ids := make([]int64, 0, step*int64(len(series)))
	for ; from < end; from += step {
		// A wrong clock may have left years without anything.
		var next int64
		err := s.tx.QueryRowContext(ctx, "SELECT COALESCE(MIN(id), 0) >> ? FROM ? WHERE id >= ?", seriesBits, bun.Ident(table), from<<seriesBits).Scan(&next)
		if err != nil || next == 0 {
			return err
		}
		from = max(from, next)
		ids = ids[:0]
		for at := from; at < min(from+step, end); at++ {
			for _, id := range series {
				ids = append(ids, at<<seriesBits|id)
			}
		}
		rows, err := s.tx.QueryContext(ctx, "SELECT id, data FROM ? WHERE id IN (?) ORDER BY id", bun.Ident(table), bun.List(ids))
		if err != nil {
			return err
		}
		var id int64
		var data sql.RawBytes
		for rows.Next() {
			if err := rows.Scan(&id, &data); err != nil {
				rows.Close()
				return err
			}
			do(id>>seriesBits, id&maxSeries, data)
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}

// sums calls do with the hourly sums of what began in [from, to), ms, as far as
// nothing but them is left.
func (s *snapshot) sums(ctx context.Context, from, to int64, series []int64, do func(ms, series int64, h *hourSum)) error {
	to = min(to, s.raw*hourMS)
	if from >= to {
		return nil
	}
	const dayMS = dayHours * hourMS
	var first int64
	err := s.tx.NewSelect().Model((*rollupRow)(nil)).ColumnExpr("COALESCE(MIN(id), 0) >> ?", seriesBits).Scan(ctx, &first)
	if err != nil || first == 0 {
		return err
	}
	return s.packed(ctx, "rollup", max(first, from/dayMS), (to-1)/dayMS+1, series, func(day, id int64, data []byte) {
		_, hours, _ := readRollup(data) // a damaged one has none
		for i := range hours {
			if ms := day*dayMS + int64(hours[i].hour)*hourMS; ms >= from && ms < to {
				do(ms, id, &hours[i])
			}
		}
	})
}
