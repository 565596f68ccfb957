package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// salvaging copies one table. key is what its tree is sorted by; whole: that is
// not a number; cell: it is one of so many hours and of a series; ends: what lies
// between two parts that cannot be read is left out. after makes the new table fit
// what may be lost.
type salvaging struct {
	src        *bun.DB
	table, key string
	whole      bool
	cell       int64
	ends       bool
	after      func(ctx context.Context, tx bun.Tx, gap *span) error

	gap        *span // the keys from the first that may be lost through the last
	lastSeries int64
	insert     *sql.Stmt
	read       string // SELECT
	tries      int
	saved      int64
}

func (v *salvaging) copy(ctx context.Context, tx bun.Tx) error {
	columns, err := v.columns(ctx, tx)
	if err != nil || len(columns) == 0 {
		return err
	}
	names, marks := strings.Join(columns, ", "), strings.Repeat(", ?", len(columns))[2:]
	conflict := "IGNORE"
	if v.table == "progress" || v.table == "code" {
		conflict = "REPLACE" // of what the migrations have put there
	}
	v.insert, err = tx.Tx.PrepareContext(ctx, "INSERT OR "+conflict+" INTO "+v.table+" ("+names+") VALUES ("+marks+")")
	if err != nil {
		return err
	}
	defer v.insert.Close()
	if v.whole {
		v.read = "SELECT 0, " + names + " FROM " + v.table + " NOT INDEXED"
		for _, order := range []string{"", " ORDER BY 2 DESC"} {
			if _, err := v.rows(ctx, v.read+order); err == nil || faultOf(err) == faultFull {
				return onlyFull(err)
			}
		}
		return nil
	}
	if err := tx.NewRaw("SELECT COALESCE(MAX(id), 0) FROM series").Scan(ctx, &v.lastSeries); err != nil {
		return err
	}
	v.read = "SELECT " + v.key + ", " + names + " FROM " + v.table + " NOT INDEXED WHERE " + v.key + " BETWEEN ? AND ? ORDER BY " + v.key
	return v.ranges(ctx)
}

func onlyFull(err error) error {
	if faultOf(err) == faultFull {
		return err
	}
	return nil
}

// columns are those of the new table that the old one has, too: it may be of an
// earlier schema.
func (v *salvaging) columns(ctx context.Context, tx bun.Tx) (both []string, err error) {
	var fresh, old []string
	const q = "SELECT name FROM pragma_table_info(?) ORDER BY cid"
	if err := tx.NewRaw(q, v.table).Scan(ctx, &fresh); err != nil {
		return nil, err
	}
	if err := v.src.NewRaw(q, v.table).Scan(ctx, &old); err != nil {
		return nil, nil //nolint:nilerr // of the damaged one
	}
	return slices.DeleteFunc(fresh, func(c string) bool { return !slices.Contains(old, c) }), nil
}

// span is keys from low through high.
type span struct{ low, high int64 }

// ranges reads from both ends up to what cannot be read. In between there may be
// more: it looks at ever smaller parts, the largest first.
func (v *salvaging) ranges(ctx context.Context) error {
	todo := []span{{math.MinInt64 / 2, math.MaxInt64 / 2}}
	for len(todo) > 0 && v.tries < salvageTries && ctx.Err() == nil {
		s := todo[0]
		todo = todo[1:]
		last, err := v.rows(ctx, v.read, s.low, s.high)
		if faultOf(err) == faultFull {
			return err
		}
		if last != nil {
			s.low = *last + 1
		}
		if err == nil || s.low > s.high {
			continue
		}
		last, err = v.rows(ctx, v.read+" DESC", s.low, s.high)
		if faultOf(err) == faultFull {
			return err
		}
		if last != nil {
			s.high = *last - 1
		}
		if err != nil && v.gap == nil {
			v.gap = &span{s.low, max(s.low, s.high)}
		}
		if err == nil || s.low >= s.high || v.ends {
			continue
		}
		todo = append(todo, v.split(s)...)
		slices.SortStableFunc(todo, func(a, b span) int { return cmp.Compare(b.high-b.low, a.high-a.low) })
	}
	return nil
}

// split cuts a span into hours or days, newest first, in which only known series
// can be, or in two. What no clock can have written is left out.
func (v *salvaging) split(s span) []span {
	s.low, s.high = max(s.low, 0), min(s.high, maxMS)
	if first, last := s.low>>seriesBits, s.high>>seriesBits; v.cell > 0 && first < last {
		last = min(last, time.Now().UnixMilli()/hourMS/v.cell+1)
		var cells []span
		for at := last; at >= first && len(cells) < salvageTries/4; at-- {
			cells = append(cells, span{max(s.low, at<<seriesBits), min(s.high, at<<seriesBits|v.lastSeries)})
		}
		return cells
	}
	if s.low >= s.high {
		return nil
	}
	mid := s.low + (s.high-s.low)/2
	return []span{{s.low, mid}, {mid + 1, s.high}}
}

var errTree = errors.New("keys are not in order")

// rows copies what a query finds and returns the last key it came to. A row that
// the new table does not take is left out.
func (v *salvaging) rows(ctx context.Context, query string, args ...any) (last *int64, err error) {
	v.tries++
	rows, err := v.src.DB.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, at := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		at[i] = &values[i]
	}
	down := strings.HasSuffix(query, "DESC")
	for rows.Next() {
		if err := rows.Scan(at...); err != nil {
			return last, err
		}
		key, ok := values[0].(int64)
		if !ok || last != nil && !v.whole && (down && key > *last || !down && key < *last) {
			return last, errTree
		}
		last = &key
		for i, v := range values {
			if b, ok := v.([]byte); ok && b == nil {
				values[i] = []byte{} // which is not NULL
			}
		}
		res, err := v.insert.ExecContext(ctx, values[1:]...)
		if faultOf(err) != faultNone {
			return last, err
		}
		if err == nil {
			n, _ := res.RowsAffected()
			v.saved += n
		}
	}
	return last, rows.Err()
}
