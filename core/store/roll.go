package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// rollSeries are those of one step at most: some 100 KB of roll-ups. They have
// rollChunks chunks at most.
const (
	rollSeries = 256
	rollChunks = 1024
)

// progress is how far the history has come, in hours since 1970: what is before
// rolled is in roll-ups, what is before raw is only there.
type progress struct{ rolled, raw int64 }

// rolling is a round of rolling up under way: hours from until to of one day,
// the series before next are done. Zero when there is none.
type rolling struct{ from, to, next int64 }

// roll makes roll-ups out of chunks, one step of it: of each day when it is over,
// and of hours whose chunks have to go earlier (wanted). The last day has none as
// a rule: its chunks say more.
func (w *writer) roll(ctx context.Context, now time.Time) (more bool, err error) {
	if w.rolling.to == 0 {
		if more, err = w.beginRoll(ctx, now); !more || err != nil {
			return false, err
		}
	}
	r := &w.rolling
	low, high := r.next, r.next+min(rollSeries, rollChunks/(r.to-r.from))-1
	err = w.inTx(ctx, func(ctx context.Context, c *commit) error {
		sums, err := c.sumChunks(ctx, low, high)
		if err != nil {
			return err
		}
		if err := c.saveSums(ctx, r.from/dayHours, low, high, sums, replaceSum); err != nil {
			return err
		}
		if high < w.paths.lastID {
			c.onSuccess(func() { r.next = high + 1 })
			return nil
		}
		to := r.to
		c.onSuccess(func() { w.progress.rolled, w.rolling = to, rolling{} })
		return c.setProgress(ctx, "rolled_hour", to)
	})
	if err != nil {
		return false, fmt.Errorf("roll up: %w", err)
	}
	return true, nil
}

// beginRoll finds what to roll up next; more tells that there is something.
func (w *writer) beginRoll(ctx context.Context, now time.Time) (more bool, err error) {
	last, err := w.newestMS(ctx)
	if err != nil || last == 0 {
		return false, err
	}
	last = min(last, now.UnixMilli())
	target := max(last/hourMS/dayHours*dayHours, min(w.wanted, last/hourMS))
	if w.progress.rolled >= target {
		return false, nil
	}
	first, err := w.chunkEdge(ctx, "MIN(id)", "id >= ?", w.progress.rolled<<seriesBits)
	if err != nil {
		return false, err
	}
	if first == 0 || first >= target {
		return false, w.inTx(ctx, func(ctx context.Context, c *commit) error {
			c.onSuccess(func() { w.progress.rolled = target })
			return c.setProgress(ctx, "rolled_hour", target)
		})
	}
	w.rolling = rolling{from: first, to: min(target, (first/dayHours+1)*dayHours), next: 1}
	return true, nil
}

// sumChunks sums up the hours under way of a range of series.
func (c *commit) sumChunks(ctx context.Context, low, high int64) (map[int64][]hourSum, error) {
	sums := map[int64][]hourSum{}
	for hour := c.w.rolling.from; hour < c.w.rolling.to; hour++ {
		rows, err := c.tx.QueryContext(ctx, "SELECT id, data FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id",
			hour<<seriesBits|low, hour<<seriesBits|high)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var id int64
			var data []byte
			if err := rows.Scan(&id, &data); err != nil {
				rows.Close()
				return nil, err
			}
			id &= maxSeries
			if p := c.w.paths.byID[id]; p != nil {
				sums[id] = append(sums[id], sumChunk(hour, p.run.id == id, data))
			}
		}
		if err := cmp.Or(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// sumChunk sums up a chunk; behind damage there is nothing.
func sumChunk(hour int64, runs bool, data []byte) hourSum {
	s := newSum(int(hour % dayHours))
	if runs {
		r := readRuns(hour, data)
		for x := (run{}); r.next(&x); {
			s.run(&x)
		}
		return s.done()
	}
	r := readValues(data)
	for {
		v, times := r.next()
		if times == 0 {
			return s.done()
		}
		if v.ok {
			s.values(v.v, int64(times))
		}
	}
}

// replaceSum and addSum put an hour into those of its day.
func replaceSum(hours []hourSum, s hourSum) []hourSum { return putSum(hours, s, false) }
func addSum(hours []hourSum, s hourSum) []hourSum     { return putSum(hours, s, true) }

func putSum(hours []hourSum, s hourSum, add bool) []hourSum {
	i, found := slices.BinarySearchFunc(hours, s.hour, func(h hourSum, hour int) int { return h.hour - hour })
	switch {
	case !found:
		return slices.Insert(hours, i, s)
	case add:
		both := resume(hours[i])
		both.merge(&s)
		s = both.done()
	}
	hours[i] = s
	return hours
}

// rollLate brings roll-ups up to date with results that came after them.
func (c *commit) rollLate(ctx context.Context, hour int64, sums map[int64]hourSum, put func([]hourSum, hourSum) []hourSum) error {
	if len(sums) == 0 {
		return nil
	}
	ids := slices.Collect(maps.Keys(sums))
	days := make(map[int64][]hourSum, len(sums))
	for id, s := range sums {
		days[id] = []hourSum{s}
	}
	return c.saveSums(ctx, hour/dayHours, slices.Min(ids), slices.Max(ids), days, put)
}

// saveSums puts hours into the day of each series from low to high, and writes
// the whole range anew, in order: see packPaths.
func (c *commit) saveSums(ctx context.Context, day, low, high int64, sums map[int64][]hourSum, put func([]hourSum, hourSum) []hourSum) error {
	low, high = day<<seriesBits|low, day<<seriesBits|high
	var old []rollupRow
	if err := c.tx.NewSelect().Model(&old).Where("id BETWEEN ? AND ?", low, high).Order("id").Scan(ctx); err != nil {
		return err
	}
	byID := make(map[int64]rollupRow, len(old)+len(sums))
	for _, r := range old {
		byID[r.ID] = r
	}
	for series, fresh := range sums {
		id := day<<seriesBits | series
		var hours []hourSum
		if r, ok := byID[id]; ok {
			var err error
			if _, hours, err = readRollup(r.Data); err != nil {
				c.w.s.o.Log.Error("a roll-up is lost", "series", series, "day", time.UnixMilli(day*dayHours*hourMS).UTC(), "error", err)
			}
		}
		for _, s := range fresh {
			hours = put(hours, s)
		}
		byID[id] = rollupRow{ID: id, Data: appendRollup(nil, c.w.kindOf(series), hours)}
	}
	if _, err := c.tx.NewDelete().Model((*rollupRow)(nil)).Where("id BETWEEN ? AND ?", low, high).Exec(ctx); err != nil {
		return err
	}
	rows := slices.SortedFunc(maps.Values(byID), func(a, b rollupRow) int { return int(a.ID - b.ID) })
	if err := c.w.s.db.insertRollups(ctx, c.tx, rows); err != nil {
		return err
	}
	grown := c.w.rowSizes.ofRollups(rows).minus(c.w.rowSizes.ofRollups(old))
	c.onSuccess(func() { c.w.rollups = c.w.rollups.plus(grown) })
	return nil
}

// kindOf is what roll-ups of a series hold.
func (w *writer) kindOf(series int64) byte {
	p := w.paths.byID[series]
	if p != nil && p.run.id == series {
		return rollupRuns
	}
	if p != nil {
		for _, m := range p.metrics {
			if m.id == series && m.scale == 1 {
				return rollupWhole
			}
		}
	}
	return rollupValues
}

func (c *commit) setProgress(ctx context.Context, name string, hour int64) error {
	_, err := c.tx.NewUpdate().Model((*progressRow)(nil)).Set("hour = ?", hour).Where("name = ?", name).Exec(ctx)
	return err
}

func (w *writer) loadProgress(ctx context.Context) error {
	var rows []progressRow
	if err := w.db.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return fmt.Errorf("read progress: %w", err)
	}
	for _, r := range rows {
		switch r.Name {
		case "rolled_hour":
			w.progress.rolled = r.Hour
		case "raw_hour":
			w.progress.raw = r.Hour
		}
	}
	return nil
}

// chunkEdge is the hour of the chunk that of ("MIN(id)", "MAX(id)") picks; 0
// when there is none.
func (w *writer) chunkEdge(ctx context.Context, of, where string, arg int64) (hour int64, err error) {
	id, err := w.edges.look(ctx, w.db, edgeKey{"chunk", of, where, arg})
	return id >> seriesBits, err
}
