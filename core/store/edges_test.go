package store

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/uptrace/bun"
)

// statements counts those of the writer.
type statements struct{ n int }

func (a *statements) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }
func (a *statements) AfterQuery(context.Context, *bun.QueryEvent)                        { a.n++ }

// Maintenance with nothing to do asks for what it knows no second time, also when
// results came, and what it knows is what the tables have.
func TestEdgesAreKnown(t *testing.T) {
	now := epoch.Add(time.Minute)
	w := stopped(t, Options{Now: func() time.Time { return now }})
	job := uint64(0)
	step := func(at time.Time) {
		job++
		w.save(t, result(1, job, at, time.Millisecond))
		for w.maintain(t.Context(), now) {
		}
	}
	for i := range 200 {
		now = now.Add(5 * time.Minute)
		step(now.Add(-time.Duration(i%7) * time.Minute))
		for k, at := range w.edges {
			var is sql.NullInt64
			must(t, w.db.NewSelect().TableExpr("?", bun.Ident(k.table)).ColumnExpr(k.of).Where(k.where, k.arg).Scan(t.Context(), &is))
			if is.Int64 != at {
				t.Fatalf("round %d: %+v is %d, want %d", i, k, at, is.Int64)
			}
		}
	}
	var count statements
	now = now.Add(time.Second)
	w.db = w.db.WithQueryHook(&count)
	w.maintain(t.Context(), now)
	if count.n > 3 {
		t.Errorf("got %d questions with nothing to do, want at most 3", count.n)
	}
}
