package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
)

// What is written all the time goes through statements that the writer's
// connection has parsed once: with rows written into the text, parsing takes a
// third of the processor time of a commit. They take 32 rows, or 4, or one.
var insertShapes = [...]int{32, 4, 1}

// inserting is a table's statements by shape.
type inserting struct {
	head, foot string
	columns    int
	stmts      [len(insertShapes)]*sql.Stmt
	args       []any
}

type inserts struct{ tail, latest, chunk, rollup inserting }

func newInserts() *inserts {
	return &inserts{
		tail: inserting{head: "INSERT INTO tail (ts_ms, series_id, scaled_value, status) VALUES ", foot: " ON CONFLICT DO NOTHING", columns: 4},
		latest: inserting{
			head: "INSERT INTO latest AS l (series_id, ts_ms, rtt_us, outcome, reason, message, metrics) VALUES ",
			foot: " ON CONFLICT (series_id) DO UPDATE SET ts_ms = EXCLUDED.ts_ms, rtt_us = EXCLUDED.rtt_us, outcome = EXCLUDED.outcome," +
				" reason = EXCLUDED.reason, message = EXCLUDED.message, metrics = EXCLUDED.metrics WHERE EXCLUDED.ts_ms >= l.ts_ms OR l.ts_ms > ?",
			columns: 7,
		},
		chunk:  inserting{head: "INSERT INTO chunk (id, n, data) VALUES ", columns: 3},
		rollup: inserting{head: "INSERT INTO rollup (id, data) VALUES ", columns: 2},
	}
}

// prepare parses the statements. It waits for the connection, so it must not be
// called in a transaction.
func (f *sqliteDB) prepare(ctx context.Context) error {
	// From here on it is beginTx that waits for others, and looks up in between.
	if _, err := f.writer.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", busyStep.Milliseconds())); err != nil {
		return err
	}
	if f.inserts != nil {
		return nil
	}
	all := newInserts()
	for _, in := range []*inserting{&all.tail, &all.latest, &all.chunk, &all.rollup} {
		row := "(" + strings.TrimSuffix(strings.Repeat("?, ", in.columns), ", ") + ")"
		for i, n := range insertShapes {
			var err error
			text := in.head + strings.TrimSuffix(strings.Repeat(row+", ", n), ", ") + in.foot
			if in.stmts[i], err = f.writer.DB.PrepareContext(ctx, text); err != nil {
				return fmt.Errorf("prepare %q: %w", in.head, err)
			}
		}
	}
	f.inserts = all
	return nil
}

// exec inserts n rows, whose values add appends; foot is that of the statement.
func (in *inserting) exec(ctx context.Context, tx bun.Tx, n int, add func(args []any, i int) []any, foot ...any) (inserted int64, err error) {
	next := 0
	for i, shape := range insertShapes {
		if n-next < shape {
			continue
		}
		stmt := tx.Tx.StmtContext(ctx, in.stmts[i]) // ends with the transaction
		for ; n-next >= shape; next += shape {
			in.args = in.args[:0]
			for k := range shape {
				in.args = add(in.args, next+k)
			}
			res, err := stmt.ExecContext(ctx, append(in.args, foot...)...)
			if err != nil {
				return inserted, err
			}
			rows, _ := res.RowsAffected()
			inserted += rows
		}
	}
	return inserted, nil
}

func (f *sqliteDB) insertTail(ctx context.Context, tx bun.Tx, rows []tailRow) (int64, error) {
	return f.inserts.tail.exec(ctx, tx, len(rows), func(args []any, i int) []any {
		return append(args, rows[i].TsMS, rows[i].SeriesID, nullable(rows[i].ScaledValue), rows[i].Status)
	})
}

func (f *sqliteDB) upsertLatest(ctx context.Context, tx bun.Tx, rows []latestRow, tooLate int64) error {
	_, err := f.inserts.latest.exec(ctx, tx, len(rows), func(args []any, i int) []any {
		r := &rows[i]
		return append(args, r.SeriesID, r.TsMS, nullable(r.RTTUS), int64(r.Outcome), r.Reason, r.Message, r.Metrics)
	}, tooLate)
	return err
}

func (f *sqliteDB) insertChunks(ctx context.Context, tx bun.Tx, rows []chunkRow) error {
	_, err := f.inserts.chunk.exec(ctx, tx, len(rows), func(args []any, i int) []any { return append(args, rows[i].ID, rows[i].N, rows[i].Data) })
	return err
}

func (f *sqliteDB) insertRollups(ctx context.Context, tx bun.Tx, rows []rollupRow) error {
	_, err := f.inserts.rollup.exec(ctx, tx, len(rows), func(args []any, i int) []any { return append(args, rows[i].ID, rows[i].Data) })
	return err
}

// nullable spares database/sql to look for what is behind a pointer.
func nullable(v *int64) any {
	if v == nil {
		return nil
	}
	return *v
}
