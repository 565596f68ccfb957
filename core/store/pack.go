package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"
)

const (
	// packEvery keeps the tail, at 20 bytes a row, near a twentieth of a day's chunks.
	packEvery = 5 * time.Minute
	// packRows are the most that one batch has, readRows what of them one step reads.
	packRows = 50_000
	readRows = 10_000
	// mostPacking bytes of chunks are rewritten in one step at most, however large the
	// database may be: meanwhile results wait to be committed.
	mostPacking = 500_000
	// chunkBytes more is what rewriting a chunk costs, however short it is.
	chunkBytes = 150
	// packedBytes is what a row of the tail comes to, at most as a rule.
	packedBytes = 5
)

// mostTail rows are packed without waiting: a tenth of the database.
func (w *writer) mostTail() int64 { return w.s.o.MaxBytes / 200 }

// pack moves one step of what is due from the tail into chunks: an hour, of as
// many paths as one transaction may rewrite.
func (w *writer) pack(ctx context.Context, now time.Time) (more bool, err error) {
	if w.packing == nil {
		since := now.Sub(w.lastPack)
		if w.tailRows == 0 || since >= 0 && since < packEvery && w.tailRows < w.mostTail() {
			return false, nil
		}
		through, err := w.edge(ctx, "MAX(ts_ms)")
		if err != nil {
			return false, err
		}
		w.packing, w.lastPack = &packing{through: through}, now
	}
	p := w.packing
	if len(p.order) == 0 {
		if err = w.readTail(ctx, p); err != nil || p.unpacked == 0 {
			w.packing = nil
			return false, err
		}
		if len(p.order) == 0 && !p.whole {
			return true, nil
		}
	}
	chosen := p.choose(w.packBytes)
	if err := w.s.db.checkpoint(ctx); err != nil {
		return false, err
	}
	err = w.inTx(ctx, func(ctx context.Context, c *commit) error {
		if err := c.packPaths(ctx, p, chosen); err != nil {
			return err
		}
		return c.dropPacked(ctx, p, chosen)
	})
	switch {
	case errors.Is(err, errTailMoved):
		p.from, p.order = p.begin, nil // read it again
	case err != nil:
		w.packing = nil
		return false, fmt.Errorf("pack results: %w", err)
	}
	return true, nil
}

// packing is a round of packing under way: the tail from from through through, ms.
// It goes by batches of one hour, and those by steps of some paths.
type packing struct {
	from, through int64
	batch
}

// batch is the tail of an hour, or the first packRows of it.
type batch struct {
	hour       int64
	begin, end int64 // ms
	paths      map[*path]*pathHour
	read       tailRow // the last one
	whole      bool    // all of it was read
	order      []*path // that are not packed yet, by id
	unpacked   int64   // rows, also those that belong to no path
	cut        int64   // ms: what began before is dropped
	chunks     map[int64]int
}

// pathHour is what a path did in an hour.
type pathHour struct {
	runs    []run
	metrics map[int64][]reading // by series
	rows    int64               // of the tail
}

// reading is a value of a metric at the time of a run.
type reading struct{ ms, v int64 }

// errTailMoved: results came in between for what is being packed.
var errTailMoved = errors.New("the tail has changed")

// readTail reads a step of the next batch, which has an order when it is whole;
// unpacked is 0 when there is none.
func (w *writer) readTail(ctx context.Context, p *packing) error {
	if p.whole || p.unpacked == 0 {
		p.batch = batch{paths: map[*path]*pathHour{}, chunks: map[int64]int{}, end: p.through + 1, read: tailRow{TsMS: p.from, SeriesID: -1}}
	}
	rows, err := w.db.QueryContext(ctx, "SELECT ts_ms, series_id, scaled_value, status FROM tail"+
		" WHERE (ts_ms, series_id) > (?, ?) AND ts_ms < ? ORDER BY ts_ms, series_id LIMIT ?", p.read.TsMS, p.read.SeriesID, p.end, readRows)
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var x run
		var series int64
		var v sql.NullInt64
		if err := rows.Scan(&x.ms, &series, &v, &x.status); err != nil {
			return fmt.Errorf("read results: %w", err)
		}
		x.sample = sample{v.Int64, v.Valid}
		if p.unpacked == 0 {
			p.begin, p.hour = x.ms, x.ms/hourMS
			p.end = min((p.hour+1)*hourMS, p.through+1)
		}
		if x.ms >= p.end {
			break
		}
		if p.unpacked++; p.unpacked == packRows {
			p.end = min(p.end, x.ms+1)
		}
		p.read = tailRow{TsMS: x.ms, SeriesID: series}
		p.take(w.paths.byID[series], series, x)
		n++
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	if n == readRows {
		return nil
	}
	p.from, p.whole = p.end, true
	p.order = slices.SortedFunc(maps.Keys(p.paths), func(a, b *path) int { return int(a.run.id - b.run.id) })
	return w.measureChunks(ctx, p)
}

// take sorts in a row. One that belongs to no path is dropped: nobody can ask
// for it.
func (b *batch) take(of *path, series int64, x run) {
	if of == nil {
		return
	}
	ph := b.paths[of]
	if ph == nil {
		ph = &pathHour{metrics: map[int64][]reading{}}
		b.paths[of] = ph
	}
	ph.rows++
	switch {
	case series == of.run.id:
		ph.runs = append(ph.runs, x)
	case x.ok:
		ph.metrics[series] = append(ph.metrics[series], reading{x.ms, x.v})
	}
}

// measureChunks learns how much there is to rewrite.
func (w *writer) measureChunks(ctx context.Context, p *packing) error {
	var sizes []struct {
		ID    int64
		Bytes int
	}
	err := w.db.NewSelect().Model((*chunkRow)(nil)).ColumnExpr("id, LENGTH(data) AS bytes").
		Where("id BETWEEN ? AND ?", p.hour<<seriesBits, p.hour<<seriesBits|maxSeries).Scan(ctx, &sizes)
	if err != nil {
		return fmt.Errorf("measure results: %w", err)
	}
	for _, s := range sizes {
		p.chunks[s.ID&maxSeries] = s.Bytes + int(w.rowSizes.packed)
	}
	return nil
}

// choose takes paths until they have as many bytes as a step may rewrite.
func (b *batch) choose(most int) []*path {
	bytes := 0
	for n, of := range b.order {
		bytes += b.chunks[of.run.id] + int(b.paths[of].rows)*packedBytes + (1+len(of.metrics))*chunkBytes
		for _, s := range of.metrics {
			bytes += b.chunks[s.id]
		}
		if bytes > most && n > 0 {
			return b.order[:n]
		}
	}
	return b.order
}

// ids is all series of paths.
func ids(paths []*path) (all []int64) {
	for _, of := range paths {
		all = append(all, of.run.id)
		for _, s := range of.metrics {
			all = append(all, s.id)
		}
	}
	return all
}

// dropPacked deletes from the tail what was packed, and nothing else: results
// may have come since it was read.
func (c *commit) dropPacked(ctx context.Context, p *packing, chosen []*path) error {
	q, want := c.tx.NewDelete().Model((*tailRow)(nil)).Where("ts_ms >= ? AND ts_ms < ?", p.begin, p.end), p.unpacked
	if len(chosen) < len(p.order) {
		q, want = q.Where("series_id IN (?)", bun.List(ids(chosen))), 0
		for _, of := range chosen {
			want += p.paths[of].rows
		}
	}
	res, err := q.Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != want {
		return cmp.Or(err, errTailMoved)
	}
	c.onSuccess(func() {
		for _, of := range chosen {
			c.w.s.tails.remove(of.run.id, p.begin, p.end)
		}
		p.order = p.order[len(chosen):]
		p.unpacked -= want
		c.w.tailRows -= want
	})
	return nil
}

// packPaths puts the chosen paths where their hour is: into chunks or, when those of
// that hour are gone, into roll-ups.
func (c *commit) packPaths(ctx context.Context, p *packing, chosen []*path) error {
	w := c.w
	if len(chosen) == 0 {
		return nil
	}
	if p.hour < w.progress.raw {
		return c.rollLate(ctx, p.hour, p.sums(chosen), addSum)
	}
	series := ids(chosen)
	low, high := p.hour<<seriesBits|slices.Min(series), p.hour<<seriesBits|slices.Max(series)
	var old []chunkRow
	if err := c.tx.NewSelect().Model(&old).Where("id BETWEEN ? AND ?", low, high).Order("id").Scan(ctx); err != nil {
		return err
	}
	byID := make(map[int64]chunkRow, len(old)+len(series))
	for _, r := range old {
		byID[r.ID] = r
	}
	for _, of := range chosen {
		if err := p.merge(of, byID); err != nil {
			w.s.o.Log.Error("packed results are lost", "node", of.key.node, "probe", of.key.probe,
				"hour", time.UnixMilli(p.hour*hourMS).UTC(), "error", err)
		}
	}
	if p.hour < max(w.progress.rolled, w.rolling.to) {
		if err := c.rollLate(ctx, p.hour, p.sums(chosen), replaceSum); err != nil {
			return err
		}
	}
	// Deleting and inserting in order leaves full pages at the end of the table,
	// growing rows in place would leave them two thirds full.
	if _, err := c.tx.NewDelete().Model((*chunkRow)(nil)).Where("id BETWEEN ? AND ?", low, high).Exec(ctx); err != nil {
		return err
	}
	rows := slices.SortedFunc(maps.Values(byID), func(a, b chunkRow) int { return int(a.ID - b.ID) })
	if err := w.s.db.insertChunks(ctx, c.tx, rows); err != nil {
		return err
	}
	grown := w.rowSizes.ofChunks(rows).minus(w.rowSizes.ofChunks(old))
	c.onSuccess(func() { w.packed = w.packed.plus(grown) })
	return nil
}

// merge adds the path's chunks to what is new of it, and puts what comes of it
// into rows. An error tells that some of the chunks could not be read.
func (b *batch) merge(of *path, rows map[int64]chunkRow) error {
	ph, base := b.paths[of], b.hour<<seriesBits
	old := pathHour{runs: make([]run, 0, rows[base|of.run.id].N+int64(len(ph.runs)))}
	err := old.unpack(b.hour, of, func(id int64) []byte { return rows[base|id].Data })
	ph.join(&old)
	ph.dropBefore(b.cut)
	put := func(id, n int64, data []byte) {
		if rows[base|id] = (chunkRow{ID: base | id, N: n, Data: data}); len(data) == 0 {
			delete(rows, base|id)
		}
	}
	put(of.run.id, int64(len(ph.runs)), appendRuns(make([]byte, 0, packedBytes*len(ph.runs)), b.hour, ph.runs))
	for id, readings := range ph.metrics {
		vs, n := ph.align(readings)
		put(id, n, appendValues(nil, vs))
	}
	return err
}

// sums is what the roll-ups want to know of the chosen paths.
func (b *batch) sums(chosen []*path) map[int64]hourSum {
	sums := map[int64]hourSum{}
	for _, of := range chosen {
		ph, s := b.paths[of], newSum(int(b.hour%dayHours))
		for i := range ph.runs {
			s.run(&ph.runs[i])
		}
		sums[of.run.id] = s.done()
		for id, readings := range ph.metrics {
			s := newSum(int(b.hour % dayHours))
			for _, r := range readings {
				s.values(r.v, 1)
			}
			if s.n > 0 {
				sums[id] = s.done()
			}
		}
	}
	return sums
}
