package store

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"
)

// edges is what was found at the ends of tables, as long as they are the same:
// maintenance looks at them all the time, and between two rounds of packing only
// the tail grows. Whoever deletes outside of a transaction clears it.
type edges map[edgeKey]int64

// edgeKey is a question: of is MIN or MAX of a column.
type edgeKey struct {
	table, of, where string
	arg              int64
}

// look is 0 when there is no such row.
func (e edges) look(ctx context.Context, db bun.IDB, k edgeKey) (at int64, err error) {
	if at, ok := e[k]; ok {
		return at, nil
	}
	err = db.NewSelect().TableExpr("?", bun.Ident(k.table)).ColumnExpr("COALESCE("+k.of+", 0)").Where(k.where, k.arg).Scan(ctx, &at)
	if err != nil {
		return 0, fmt.Errorf("read age of %s: %w", k.table, err)
	}
	e[k] = at
	return at, nil
}

// firstID is the least id of a table, 0 when it is empty.
func (w *writer) firstID(ctx context.Context, table string) (int64, error) {
	return w.edges.look(ctx, w.db, edgeKey{table, "MIN(id)", "id > ?", 0})
}

// add is told what the tail has got.
func (e edges) add(rows []tailRow) {
	for k, at := range e {
		if k.table != "tail" {
			continue
		}
		if at == 0 {
			delete(e, k)
			continue
		}
		for _, r := range rows {
			if k.of == "MIN(ts_ms)" && r.TsMS < at || k.of == "MAX(ts_ms)" && r.TsMS > at {
				at = r.TsMS
			}
		}
		e[k] = at
	}
}
