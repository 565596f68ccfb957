package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// dropRows go in one step: chunks, roll-ups or events, some 50 KB.
	dropRows = 200
	// tidyEvery is how often what grows slowly is looked at.
	tidyEvery = 10 * time.Minute
)

// muchTail rows are a reason to look at the size at once.
func (w *writer) muchTail() int64 { return w.s.o.headroom() / (4 * w.rowSizes.tail) }

// maintain does one step of what is due and tells whether there is more to do. A
// step that fails does not keep the others from being done.
func (w *writer) maintain(ctx context.Context, now time.Time) (more bool) {
	if w.follow(ctx) != nil {
		return false
	}
	w.warmReaders()
	if w.paused {
		w.resume()
	}
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	var errs []error
	for _, step := range []func(context.Context, time.Time) (bool, error){w.fitProgress, w.trimSize, w.pack, w.roll, w.addSlot, w.trimAge, w.tidy, w.boundEvents} {
		again, err := step(ctx, now)
		if errs = append(errs, err); err == nil && again {
			more = true
			break
		}
	}
	err := errors.Join(errs...)
	if errors.Is(err, errRenewed) {
		if err = w.reload(ctx); err == nil {
			return true
		}
	}
	switch {
	case busy(err):
		more = true // no fault as long as commits get through
	case err != nil:
		w.s.noteFault(err) // until a commit succeeds: that this step only read says nothing
		more = w.mend(ctx, err)
	}
	w.tell(ctx)
	return more
}

// trimAge drops chunks older than Raw, slots that are a key frame older than what
// is left of them, and roll-ups older than Rollup. Age is counted from the newest
// result when the clock is ahead of it, and see ago.
func (w *writer) trimAge(ctx context.Context, now time.Time) (more bool, err error) {
	last, err := w.newestMS(ctx)
	if err != nil || last == 0 {
		return false, err
	}
	last = min(last, now.UnixMilli())
	raw := last - w.s.o.Raw.Milliseconds()
	hour, err := w.tooOld(ctx, "chunk", raw/hourMS, last/hourMS)
	if err != nil {
		return false, err
	}
	if more, err = w.dropChunks(ctx, hour); more || err != nil {
		return more, err
	}
	raw = max(min(raw, (hour+1)*hourMS), w.progress.raw*hourMS)
	if more, err = w.dropSlots(ctx, raw-keySlots*slotMS); more || err != nil {
		return more, err
	}
	const dayMS = dayHours * hourMS
	day, err := w.tooOld(ctx, "rollup", (last-w.s.o.Rollup.Milliseconds())/dayMS, last/dayMS-1)
	if err != nil {
		return false, err
	}
	n, err := w.dropRollups(ctx, day)
	return n == dropRows, err
}

// dropChunks drops a step of the chunks before an hour. They must be rolled up:
// when they are not, that is asked for, and more is true.
func (w *writer) dropChunks(ctx context.Context, before int64) (more bool, err error) {
	first, err := w.chunkEdge(ctx, "MIN(id)", "id > ?", 0)
	if err != nil || first == 0 || first >= before {
		return false, err
	}
	if first >= w.progress.rolled {
		w.wanted = max(w.wanted, first+1)
		return true, nil
	}
	_, err = w.dropHour(ctx, first)
	return true, err
}

// dropHour drops a step of the chunks of the oldest hour.
func (w *writer) dropHour(ctx context.Context, hour int64) (dropped int64, err error) {
	var old []struct{ ID, N, Bytes int64 }
	err = w.inTx(ctx, func(ctx context.Context, c *commit) error {
		err := c.tx.NewSelect().Model((*chunkRow)(nil)).ColumnExpr("id, n, LENGTH(data) AS bytes").
			Where("id < ?", (hour+1)<<seriesBits).Order("id").Limit(dropRows).Scan(ctx, &old)
		if err != nil || len(old) == 0 {
			return err
		}
		if w.progress.raw <= hour {
			if err := c.setProgress(ctx, "raw_hour", hour+1); err != nil {
				return err
			}
			c.onSuccess(func() { w.progress.raw = hour + 1 })
		}
		_, err = c.tx.NewDelete().Model((*chunkRow)(nil)).Where("id <= ?", old[len(old)-1].ID).Exec(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("trim results: %w", err)
	}
	for _, r := range old {
		w.packed = w.packed.minus(size{r.N, r.Bytes + w.rowSizes.packed})
		dropped += r.N
	}
	return dropped, nil
}

// dropRollups drops a step of the roll-ups before a day.
func (w *writer) dropRollups(ctx context.Context, before int64) (dropped int, err error) {
	if first, err := w.firstID(ctx, "rollup"); err != nil || first == 0 || first >= before<<seriesBits {
		return 0, err
	}
	var old []struct{ ID, Bytes int64 }
	err = w.inTx(ctx, func(ctx context.Context, c *commit) error {
		err := c.tx.NewSelect().Model((*rollupRow)(nil)).ColumnExpr("id, LENGTH(data) AS bytes").
			Where("id < ?", before<<seriesBits).Order("id").Limit(dropRows).Scan(ctx, &old)
		if err != nil || len(old) == 0 {
			return err
		}
		_, err = c.tx.NewDelete().Model((*rollupRow)(nil)).Where("id <= ?", old[len(old)-1].ID).Exec(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("trim roll-ups: %w", err)
	}
	for _, r := range old {
		w.rollups = w.rollups.minus(size{1, r.Bytes + w.rowSizes.packed})
	}
	return len(old), nil
}

// newestMS is when the newest result began, or a little later; 0 when there is
// none.
func (w *writer) newestMS(ctx context.Context) (int64, error) {
	if w.tailRows > 0 {
		return w.edge(ctx, "MAX(ts_ms)")
	}
	hour, err := w.chunkEdge(ctx, "MAX(id)", "id > ?", 0)
	if hour == 0 {
		return 0, err
	}
	return (hour+1)*hourMS - 1, err
}

// edge is the time of the oldest or newest row of the tail, ms; 0 when there is
// none. One alone is read off the index, both in one statement would read all
// of it.
func (w *writer) edge(ctx context.Context, of string) (ms int64, err error) {
	return w.edges.look(ctx, w.db, edgeKey{"tail", of, "ts_ms > ?", -1})
}

// trimSize keeps what is used below the limit less headroom. Freed pages are
// used again, so the file need only shrink when the limit was lowered.
func (w *writer) trimSize(ctx context.Context, _ time.Time) (more bool, err error) {
	used, free, err := w.s.db.used(ctx, w)
	if err != nil {
		return false, fmt.Errorf("read size: %w", err)
	}
	w.used, w.free, w.looked = used, free, w.tailRows
	limit := w.s.o.MaxBytes - w.s.o.headroom()
	switch {
	case w.used > limit:
		if more, err = w.dropSome(ctx); !more && err == nil {
			w.noteFull(w.used)
		}
		return more, err
	case used+free > limit+w.s.o.headroom()/2 && free > 0:
		more, err = true, w.s.db.shrink(ctx)
	}
	w.full = false
	return more, err
}

// dropSome drops a step of what is worth least: events beyond what they have for
// themselves, the oldest results but those of the newest hour (see dropBusy),
// then roll-ups, then events that are over.
func (w *writer) dropSome(ctx context.Context) (more bool, err error) {
	if more, err := w.trimEvents(ctx, eventLeast); more || err != nil {
		return more, err
	}
	first, err := w.chunkEdge(ctx, "MIN(id)", "id > ?", 0)
	if err != nil {
		return false, err
	}
	last, err := w.newestMS(ctx)
	if err != nil {
		return false, err
	}
	if oldest, err := w.edge(ctx, "MIN(ts_ms)"); err == nil && oldest > 0 && oldest/hourMS < last/hourMS {
		w.lastPack = time.Time{} // what is old and not even packed is no reason to drop anything else
		if _, err := w.pack(ctx, time.UnixMilli(last)); err == nil {
			return true, nil
		}
	}
	if first > 0 && first < last/hourMS {
		if first >= w.progress.rolled {
			w.wanted = max(w.wanted, first+1)
			if again, err := w.roll(ctx, time.UnixMilli(last)); again || err != nil {
				return again, err
			}
		}
		n, err := w.dropHour(ctx, first)
		w.noteDropped(Drop{Kind: core.DropRaw, Through: time.UnixMilli((first + 1) * hourMS), Rows: n})
		return n > 0, err
	}
	if n, err := w.dropBusy(ctx, first, last); n > 0 || err != nil {
		return n > 0, err
	}
	day, err := w.firstID(ctx, "rollup")
	if err != nil {
		return false, err
	}
	if day >>= seriesBits; day > 0 {
		n, err := w.dropRollups(ctx, day+1)
		w.noteDropped(Drop{Kind: core.DropRollup, Through: time.UnixMilli((day + 1) * dayHours * hourMS), Rows: int64(n)})
		return n > 0, err
	}
	return w.dropEvents(ctx)
}

func (w *writer) dropEvents(ctx context.Context) (more bool, err error) {
	var through []int64
	err = w.db.NewSelect().Model((*eventRow)(nil)).Column("ended_us").Where("ended_us IS NOT NULL").
		Order("ended_us").Limit(dropRows).Scan(ctx, &through)
	if err != nil || len(through) == 0 {
		return false, err
	}
	end := through[len(through)-1]
	res, err := w.db.NewDelete().Model((*eventRow)(nil)).Where("ended_us <= ?", end).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("trim events: %w", err)
	}
	n, err := res.RowsAffected()
	w.noteDropped(Drop{Kind: core.DropEvents, Through: time.UnixMicro(end), Rows: n})
	return n > 0, errors.Join(err, w.measureEvents(ctx))
}

// tidy bounds what grows slowly: events, views of peers that no longer answer,
// series and codes that no result uses any more.
func (w *writer) tidy(ctx context.Context, now time.Time) (more bool, err error) {
	if since := now.Sub(w.lastTidy); since >= 0 && since < tidyEvery {
		return false, nil
	}
	w.lastTidy = now
	clear(w.edges)
	eventsFrom, err := w.s.ago(ctx, w.db, now, keptEventsFor)
	if err != nil {
		return false, err
	}
	viewsFrom, err := w.s.ago(ctx, w.db, now, maxViewAge)
	if err != nil {
		return false, err
	}
	deletes := []*bun.DeleteQuery{
		w.db.NewDelete().Model((*eventRow)(nil)).Where("ended_us < ?", eventsFrom*1000),
		w.db.NewDelete().Model((*viewRow)(nil)).Where("at_ms < ?", viewsFrom),
	}
	for _, q := range deletes {
		if _, err := q.Exec(ctx); err != nil {
			return false, fmt.Errorf("tidy: %w", err)
		}
	}
	if err := w.tidyDocuments(ctx, now); err != nil {
		return false, fmt.Errorf("tidy documents: %w", err)
	}
	if err := w.tidyPaths(ctx); err != nil {
		return false, fmt.Errorf("tidy series: %w", err)
	}
	if err := w.tidyNames(ctx); err != nil {
		return false, fmt.Errorf("tidy names: %w", err)
	}
	if len(w.codes.free) < fewCodes {
		if err := w.tidyCodes(ctx); err != nil {
			return false, fmt.Errorf("tidy codes: %w", err)
		}
	}
	return false, w.measureEvents(ctx)
}

func (w *writer) boundEvents(ctx context.Context, _ time.Time) (more bool, err error) {
	return w.trimEvents(ctx, eventShare)
}

// trimEvents drops a step of the events that are over when all of them take more
// than a share of MaxBytes.
func (w *writer) trimEvents(ctx context.Context, share int64) (more bool, err error) {
	if w.events <= w.s.o.MaxBytes/share {
		return false, nil
	}
	return w.dropEvents(ctx)
}

// tidyPaths forgets the paths whose newest result is older than everything that
// is kept of any path.
func (w *writer) tidyPaths(ctx context.Context) error {
	oldest, err := w.oldest(ctx)
	if err != nil || oldest.all == 0 {
		return err
	}
	for key, p := range w.paths.paths {
		if p.mark.stored >= oldest.all {
			continue
		}
		node, probe := key.node.String(), key.probe
		err := w.inTx(ctx, func(ctx context.Context, c *commit) error {
			if _, err := c.tx.NewDelete().Model((*latestRow)(nil)).Where("series_id = ?", p.run.id).Exec(ctx); err != nil {
				return err
			}
			_, err := c.tx.NewDelete().Model((*seriesRow)(nil)).Where("node = ? AND probe = ?", node, probe).Exec(ctx)
			return err
		})
		if err != nil {
			return err
		}
		w.paths.remove(p)
	}
	return nil
}

// tidyCodes drops the codes of results and frames that are gone.
func (w *writer) tidyCodes(ctx context.Context) error {
	oldest, err := w.oldest(ctx)
	if err != nil || oldest.raw == 0 {
		return err
	}
	_, err = w.db.NewDelete().Model((*codeRow)(nil)).
		Where("id >= 8 AND used_hour < ?", earlier(oldest.raw, oldest.matrix)/hourMS).Exec(ctx)
	if err != nil {
		return err
	}
	codes, err := loadCodes(ctx, w.db)
	if err == nil {
		w.codes = codes
	}
	return err
}
