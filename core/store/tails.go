package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/uptrace/bun"
)

// tails has by path the runs that are in the table tail. The table is sorted by
// time, so that it is written and trimmed at its ends; this finds the rows of one
// path in it. What it says may be older than the table: a run that has been
// packed since is in a chunk.
type tails struct {
	mu    sync.Mutex // guards byRun
	byRun map[int64][]run
}

// add takes in rows that were committed; runs has one row of each path in them.
func (t *tails) add(runs []latestRow, rows []tailRow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make(map[int64]bool, len(runs))
	for _, r := range runs {
		ids[r.SeriesID] = true
	}
	for _, r := range rows {
		if ids[r.SeriesID] {
			t.byRun[r.SeriesID] = append(t.byRun[r.SeriesID], r.run())
		}
	}
}

// remove forgets what began in [from, to) of a path: it was packed.
func (t *tails) remove(id, from, to int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := slices.DeleteFunc(t.byRun[id], func(r run) bool { return r.ms >= from && r.ms < to })
	if len(left) == 0 {
		delete(t.byRun, id)
		return
	}
	t.byRun[id] = left
}

// of is what began in [from, to) of a path, in order.
func (t *tails) of(id, from, to int64) []run {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []run
	for _, r := range t.byRun[id] {
		if r.ms >= from && r.ms < to {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, compareRuns)
	return slices.CompactFunc(all, func(a, b run) bool { return a.ms == b.ms })
}

func compareRuns(a, b run) int { return cmp.Compare(a.ms, b.ms) }

// without takes out of sorted runs the one that began at ms: one that was saved
// again after it had been packed.
func without(runs []run, ms int64) []run {
	if len(runs) == 0 || ms < runs[0].ms {
		return runs
	}
	if i, found := slices.BinarySearchFunc(runs, run{ms: ms}, compareRuns); found {
		return slices.Delete(runs, i, i+1)
	}
	return runs
}

// set takes in everything anew.
func (t *tails) set(byRun map[int64][]run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byRun = byRun
}

// loadTail fills tails and the marks of the paths, and counts the rows.
func (w *writer) loadTail(ctx context.Context) error {
	rows, err := w.db.QueryContext(ctx, "SELECT ts_ms, series_id, scaled_value, status FROM tail ORDER BY ts_ms")
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	defer rows.Close()
	byRun := map[int64][]run{}
	for rows.Next() {
		var r tailRow
		if err := rows.Scan(&r.TsMS, &r.SeriesID, &r.ScaledValue, &r.Status); err != nil {
			return fmt.Errorf("read results: %w", err)
		}
		w.tailRows++
		p := w.paths.byID[r.SeriesID]
		if p == nil || p.run.id != r.SeriesID {
			continue
		}
		byRun[r.SeriesID] = append(byRun[r.SeriesID], r.run())
		p.mark.stored = r.TsMS
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	w.s.tails.set(byRun)
	return w.loadMarks(ctx)
}

// loadMarks completes the marks of paths whose newest run has been packed: it is
// in latest or, when the node was forgotten, not after the end of the path's
// newest chunk or roll-up.
func (w *writer) loadMarks(ctx context.Context) error {
	var latest []struct{ SeriesID, TsMS int64 }
	if err := w.db.NewSelect().Model((*latestRow)(nil)).Column("series_id", "ts_ms").Scan(ctx, &latest); err != nil {
		return fmt.Errorf("read latest: %w", err)
	}
	for _, l := range latest {
		if p := w.paths.byID[l.SeriesID]; p != nil && l.TsMS > p.mark.stored {
			p.mark.stored = l.TsMS
		}
	}
	for _, p := range w.paths.paths {
		if p.mark.stored == 0 {
			return w.loadPackedMarks(ctx)
		}
	}
	return nil
}

func (w *writer) loadPackedMarks(ctx context.Context) error {
	for _, table := range []struct {
		model any
		ms    int64
	}{{(*rollupRow)(nil), hourMS * dayHours}, {(*chunkRow)(nil), hourMS}} {
		var newest []struct{ SeriesID, At int64 }
		err := w.db.NewSelect().Model(table.model).ColumnExpr("id & ? AS series_id, MAX(id >> ?) AS at", maxSeries, seriesBits).
			GroupExpr("1").Scan(ctx, &newest)
		if err != nil {
			return fmt.Errorf("read age of results: %w", err)
		}
		for _, n := range newest {
			if p := w.paths.byID[n.SeriesID]; p != nil {
				end := (n.At+1)*table.ms - 1
				p.mark.stored = max(p.mark.stored, end)
			}
		}
	}
	return nil
}

// rowsOf selects the rows of one series at the times of runs.
func rowsOf(db bun.IDB, id int64, runs []run) *bun.SelectQuery {
	at := make([]int64, len(runs))
	for i, r := range runs {
		at[i] = r.ms
	}
	return db.NewSelect().Model((*tailRow)(nil)).Column("ts_ms", "scaled_value", "status").
		Where("series_id = ? AND ts_ms IN (?)", id, bun.List(at)).Order("ts_ms")
}
