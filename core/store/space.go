package store

import (
	"context"
	"fmt"
	"time"
)

// size is that of what is packed.
type size struct{ rows, bytes int64 }

func (s size) plus(o size) size  { return size{s.rows + o.rows, s.bytes + o.bytes} }
func (s size) minus(o size) size { return size{s.rows - o.rows, s.bytes - o.bytes} }

func (z rowSizes) ofChunks(rows []chunkRow) (s size) {
	for _, r := range rows {
		s = s.plus(size{r.N, int64(len(r.Data)) + z.packed})
	}
	return s
}

func (z rowSizes) ofRollups(rows []rollupRow) (s size) {
	for _, r := range rows {
		s = s.plus(size{1, int64(len(r.Data)) + z.packed})
	}
	return s
}

// loadSizes measures what is packed, and how far.
func (w *writer) loadSizes(ctx context.Context) error {
	err := w.db.NewSelect().Model((*chunkRow)(nil)).ColumnExpr("COALESCE(SUM(n), 0), COALESCE(SUM(LENGTH(data) + ?), 0)", w.rowSizes.packed).
		Scan(ctx, &w.packed.rows, &w.packed.bytes)
	if err == nil {
		err = w.db.NewSelect().Model((*rollupRow)(nil)).ColumnExpr("COUNT(*), COALESCE(SUM(LENGTH(data) + ?), 0)", w.rowSizes.packed).
			Scan(ctx, &w.rollups.rows, &w.rollups.bytes)
	}
	if err != nil {
		return fmt.Errorf("measure results: %w", err)
	}
	return w.loadProgress(ctx)
}

func (w *writer) measureEvents(ctx context.Context) error {
	err := w.db.NewSelect().Model((*eventRow)(nil)).
		ColumnExpr("COALESCE(SUM(2 * LENGTH(kind) + 2 * LENGTH(subject) + LENGTH(message) + LENGTH(source) + 70), 0)").Scan(ctx, &w.events)
	if err != nil {
		return fmt.Errorf("measure events: %w", err)
	}
	return nil
}

// ages is when what is oldest of each kind began, ms; 0 when there is none.
type ages struct{ raw, rollup, matrix, all int64 }

func (w *writer) oldest(ctx context.Context) (a ages, err error) {
	tail, err := w.edge(ctx, "MIN(ts_ms)")
	if err != nil {
		return a, err
	}
	hour, err := w.chunkEdge(ctx, "MIN(id)", "id > ?", 0)
	if err != nil {
		return a, err
	}
	day, err := w.firstID(ctx, "rollup")
	if err != nil {
		return a, err
	}
	slot, err := w.firstID(ctx, "matrix_frame")
	if err != nil {
		return a, err
	}
	a.matrix = slot >> seriesBits * slotMS
	a.raw = earlier(tail, hour*hourMS)
	a.rollup = day >> seriesBits * dayHours * hourMS
	a.all = earlier(a.raw, a.rollup)
	return a, nil
}

// earlier ignores 0.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// tell brings Stats up to date.
func (w *writer) tell(ctx context.Context) {
	a, err := w.oldest(ctx)
	if err != nil {
		w.s.o.Log.Debug("the age of the history is not known", "error", err)
		return
	}
	newest, err := w.newestMS(ctx)
	if err != nil {
		w.s.o.Log.Debug("the age of the history is not known", "error", err)
		return
	}
	sp := Space{
		Raw: w.packed.bytes, Rollup: w.rollups.bytes, Tail: w.tailRows * w.rowSizes.tail, Matrix: w.slots.size.bytes,
		Events: w.events, Free: w.free,
	}
	sp.Other = max(0, w.used-sp.Raw-sp.Rollup-sp.Tail-sp.Matrix-sp.Events)
	st := Stats{Rows: w.tailRows + w.packed.rows, Space: sp, Oldest: timeOfMS(a.raw), OldestRollup: timeOfMS(a.rollup), OldestMatrix: timeOfMS(a.matrix)}
	if span := newest - a.raw; a.raw > 0 && span > 0 {
		st.RawPerDay = (sp.Raw + sp.Tail) * dayHours * hourMS / max(span, hourMS)
	}
	if st.RawPerDay > 0 {
		room := w.s.o.MaxBytes - w.s.o.headroom() - sp.Rollup - sp.Matrix - sp.Events - sp.Other
		st.RawFits = time.Duration(float64(max(room, 0)) / float64(st.RawPerDay) * float64(24*time.Hour))
	}
	st.Forecast = w.s.o.forecastOf(st, newest)
	if at, err := w.firstRun(ctx, a.raw/hourMS); err == nil && at > a.raw {
		st.Oldest = timeOfMS(at)
	}
	w.s.count(func(all *Stats) {
		all.Forecast = st.Forecast
		all.Rows, all.Space = st.Rows, st.Space
		all.Oldest, all.OldestRollup, all.OldestMatrix = st.Oldest, st.OldestRollup, st.OldestMatrix
		all.RawPerDay, all.RawFits = st.RawPerDay, st.RawFits
	})
}

// begun is the begin of the oldest hour, as long as bytes of chunks are the same.
type begun struct{ hour, bytes, ms int64 }

// firstRun is the first run of an hour that is in chunks, ms, as told by those of
// its first paths: they run all the time. 0 when there are no chunks.
func (w *writer) firstRun(ctx context.Context, hour int64) (int64, error) {
	if w.begun.hour == hour && w.begun.bytes == w.packed.bytes {
		return w.begun.ms, nil
	}
	var rows []chunkRow
	runs := w.db.NewSelect().Model((*seriesRow)(nil)).Column("id").Where("metric = ''")
	err := w.db.NewSelect().Model(&rows).Where("id BETWEEN ? AND ? AND id & ? IN (?)", hour<<seriesBits, hour<<seriesBits|maxSeries, maxSeries, runs).
		Order("id").Limit(dropRows).Scan(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the oldest results: %w", err)
	}
	var first int64
	for _, row := range rows {
		r := readRuns(hour, row.Data)
		if x := (run{}); r.next(&x) {
			first = earlier(first, x.ms)
		}
	}
	w.begun = begun{hour, w.packed.bytes, first}
	return first, nil
}

func timeOfMS(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Drop is what went before its time.
type Drop struct {
	// Kind is one of core.DropKinds.
	Kind string
	// Through is the end of what went; zero when it has none.
	Through time.Time
	// Rows of that kind; one per run and one per metric of raw results, one per
	// day of a path or a metric of hourly sums, some peers in ten minutes of the matrix.
	Rows int64
}

// noteDropped tells that something went before its time: the first time as a
// warning, then in Stats.
func (w *writer) noteDropped(d Drop) {
	if d.Rows == 0 {
		return
	}
	var first bool
	w.s.count(func(st *Stats) {
		first = st.LastDrop.IsZero()
		st.DroppedForSize += uint64(d.Rows)
		w.s.dropped[d.Kind] += uint64(d.Rows)
		st.LastDrop, st.Dropped = w.s.o.Now(), d
		w.s.drops[d.Kind] = st.LastDrop
	})
	log := w.s.o.Log.Debug
	if first {
		log = w.s.o.Log.Warn
	}
	log("history dropped: the database is at its size limit", "what", d.Kind, "rows", d.Rows,
		"through", d.Through.UTC(), "max_bytes", w.s.o.MaxBytes)
	if w.s.o.Dropped != nil {
		w.s.o.Dropped(d)
	}
}

func (w *writer) noteFull(used int64) {
	if !w.full {
		w.s.o.Log.Warn("database is over its size limit, and what is left of the results is kept", "used_bytes", used, "max_bytes", w.s.o.MaxBytes)
	}
	w.full = true
}
