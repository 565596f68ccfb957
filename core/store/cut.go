package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// One in busyShare of the limit less headroom is what single results may take when only those of the
// newest hour are left: then its begin goes rather than all hourly sums and
// events. What goes is not in the sum of that hour.
const busyShare = 2

// cutting is a round of dropping the begin of an hour under way: what began
// before cut, ms, of the paths in order.
type cutting struct {
	hour, cut int64
	order     []*path
}

// cutHour drops a step of the results at the begin of an hour, the oldest quarter
// of it in a round.
func (w *writer) cutHour(ctx context.Context, hour, last int64) (dropped int64, err error) {
	if w.cutting.hour != hour || len(w.cutting.order) == 0 {
		if err := w.beginCut(ctx, hour, last); err != nil || len(w.cutting.order) == 0 {
			return 0, err
		}
	}
	c := &w.cutting
	p := &packing{batch: batch{hour: hour, cut: c.cut, order: c.order, paths: map[*path]*pathHour{}, chunks: map[int64]int{}}}
	for _, of := range c.order {
		p.paths[of] = &pathHour{metrics: map[int64][]reading{}}
	}
	if err := w.measureChunks(ctx, p); err != nil {
		return 0, err
	}
	chosen, before := p.choose(w.packBytes), w.packed.rows
	if err := w.s.db.checkpoint(ctx); err != nil {
		return 0, err
	}
	err = w.inTx(ctx, func(ctx context.Context, c *commit) error { return c.packPaths(ctx, p, chosen) })
	if err != nil {
		return 0, fmt.Errorf("trim results: %w", err)
	}
	c.order = c.order[len(chosen):]
	return before - w.packed.rows, nil
}

func (w *writer) beginCut(ctx context.Context, hour, last int64) error {
	from := max(hour*hourMS, w.cutting.cut)
	w.cutting = cutting{hour: hour, cut: from + max(1, (min(last, (hour+1)*hourMS)-from)/4)}
	var ids []int64
	err := w.db.NewSelect().Model((*chunkRow)(nil)).ColumnExpr("id & ?", maxSeries).
		Where("id BETWEEN ? AND ?", hour<<seriesBits, hour<<seriesBits|maxSeries).Scan(ctx, &ids)
	if err != nil {
		return fmt.Errorf("trim results: %w", err)
	}
	known := map[*path]bool{}
	for _, id := range ids {
		if of := w.paths.byID[id]; of != nil && !known[of] {
			known[of] = true
			w.cutting.order = append(w.cutting.order, of)
		}
	}
	slices.SortFunc(w.cutting.order, func(a, b *path) int { return cmp.Compare(a.run.id, b.run.id) })
	return nil
}

// dropBefore forgets what began before ms.
func (ph *pathHour) dropBefore(ms int64) {
	ph.runs = slices.DeleteFunc(ph.runs, func(r run) bool { return r.ms < ms })
	for id, readings := range ph.metrics {
		ph.metrics[id] = slices.DeleteFunc(readings, func(r reading) bool { return r.ms < ms })
	}
}

// dropBusy drops a step of the newest hour when it takes too much by itself.
func (w *writer) dropBusy(ctx context.Context, hour, last int64) (dropped int64, err error) {
	if w.packed.bytes+w.tailRows*w.rowSizes.tail < (w.s.o.MaxBytes-w.s.o.headroom())/busyShare {
		return 0, nil
	}
	dropped, err = w.cutHour(ctx, hour, last)
	w.noteDropped(Drop{Kind: core.DropRaw, Through: time.UnixMilli(w.cutting.cut), Rows: dropped})
	return dropped, err
}
