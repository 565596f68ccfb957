package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// ResultRow is one run.
type ResultRow struct {
	At      time.Time
	Node    core.NodeID
	Name    string // of the node; empty when it is not known any more
	Probe   string
	Outcome core.Outcome
	Reason  string
	Message string
	RTT     time.Duration // 0: not measured
	Metrics []core.Metric
}

// SumRow is an hour of a path or of one of its metrics.
type SumRow struct {
	Hour        time.Time
	Node        core.NodeID
	Name, Probe string
	// Metric is empty for the runs, with RTT in seconds.
	Metric         string
	Runs, Failures int64
	// Values is how many were measured; the rest says nothing without one.
	Values         int64
	Min, Mean, Max float64
	P50, P90, P99  float64 // of RTT
}

// exporter is the paths of a question.
type exporter struct {
	r     *Reader
	q     ExportQuery
	names map[core.NodeID]string
	paths []*path // sorted by id
	ids   []int64 // of all their series
}

func (r *Reader) exporter(ctx context.Context, q ExportQuery) (*exporter, error) {
	e := &exporter{r: r, q: q, names: map[core.NodeID]string{}}
	nodes, err := r.s.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		e.names[n.ID] = n.Name()
	}
	cache, err := loadPaths(ctx, r.s.reader)
	if err != nil {
		return nil, err
	}
	for k, p := range cache.paths {
		if p.run.id == 0 || q.Node != "" && q.Node != k.node.String() || q.Probe != "" && q.Probe != k.probe {
			continue
		}
		e.paths = append(e.paths, p)
		e.ids = append(e.ids, p.run.id)
		for _, s := range p.metrics {
			e.ids = append(e.ids, s.id)
		}
	}
	slices.SortFunc(e.paths, func(a, b *path) int { return cmp.Compare(a.run.id, b.run.id) })
	slices.Sort(e.ids)
	return e, nil
}

// Results calls do with every run, hour by hour and in each path by path, by
// time. An error of do ends it.
func (r *Reader) Results(ctx context.Context, q ExportQuery, do func(ResultRow) error) error {
	e, err := r.exporter(ctx, q)
	if err != nil {
		return err
	}
	first, end, err := r.span(ctx, q)
	if err != nil {
		return err
	}
	for hour := first; hour < end; hour++ {
		if hour, err = r.nextHour(ctx, hour); err != nil {
			return err
		}
		if hour >= end {
			break
		}
		q.progress(hour-first, end-first)
		if err := e.hour(ctx, hour, do); err != nil {
			return err
		}
	}
	q.progress(end-first, end-first)
	return nil
}

// nextHour is the first from an hour on that has results. The tail is looked at
// first: meanwhile they move from there to chunks.
func (r *Reader) nextHour(ctx context.Context, hour int64) (int64, error) {
	var tail, chunk int64
	err := r.s.reader.NewSelect().Model((*tailRow)(nil)).ColumnExpr("COALESCE(MIN(ts_ms), 0)").Where("ts_ms >= ?", hour*hourMS).Scan(ctx, &tail)
	if err == nil {
		err = r.s.reader.NewSelect().Model((*chunkRow)(nil)).ColumnExpr("COALESCE(MIN(id), 0) >> ?", seriesBits).Where("id >= ?", hour<<seriesBits).Scan(ctx, &chunk)
	}
	if err != nil {
		return 0, fmt.Errorf("read age of results: %w", err)
	}
	if next := earlier(tail/hourMS, chunk); next > 0 {
		return next, nil
	}
	return maxMS / hourMS, nil
}

// hour reads all of an hour before it gives any of it away: who takes it may be
// slow.
func (e *exporter) hour(ctx context.Context, hour int64, do func(ResultRow) error) error {
	chunks, codes := map[int64][]byte{}, map[int64]codeRow{}
	fresh := map[int64][]run{}
	from, to := hour*hourMS, (hour+1)*hourMS
	read, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := e.r.s.snapshot(read, func(snap *snapshot) error {
		err := snap.packed(read, "chunk", hour, hour+1, e.ids, func(_, series int64, data []byte) { chunks[series] = slices.Clone(data) })
		if err != nil {
			return err
		}
		for part := range slices.Chunk(e.ids, idsInQuery) {
			err := eachTail(read, snap.tx, from, to, part, func(series int64, x *run) { fresh[series] = append(fresh[series], *x) })
			if err != nil {
				return err
			}
		}
		var rows []codeRow
		if err := snap.tx.NewSelect().Model(&rows).Column("id", "reason", "message").Scan(read); err != nil {
			return err
		}
		for _, c := range rows {
			codes[c.ID] = c
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	for _, p := range e.paths {
		ph := pathHour{metrics: map[int64][]reading{}, runs: fresh[p.run.id]}
		for _, s := range p.metrics {
			for _, x := range fresh[s.id] {
				ph.metrics[s.id] = append(ph.metrics[s.id], reading{x.ms, x.v})
			}
		}
		ph.sort()
		var old pathHour
		if err := old.unpack(hour, p, func(id int64) []byte { return chunks[id] }); err != nil {
			e.r.s.o.Log.Error("packed results are lost", "node", p.key.node, "probe", p.key.probe, "hour", time.UnixMilli(from).UTC(), "error", err)
		}
		ph.join(&old)
		if err := e.runs(p, &ph, codes, do); err != nil {
			return err
		}
	}
	return nil
}

// sort brings what was read in any order into that of time.
func (ph *pathHour) sort() {
	slices.SortFunc(ph.runs, func(a, b run) int { return cmp.Compare(a.ms, b.ms) })
	for _, readings := range ph.metrics {
		slices.SortFunc(readings, func(a, b reading) int { return cmp.Compare(a.ms, b.ms) })
	}
}

func (e *exporter) runs(p *path, ph *pathHour, codes map[int64]codeRow, do func(ResultRow) error) error {
	from, to := e.q.bounds()
	metrics := slices.Sorted(maps.Keys(p.metrics))
	for _, x := range ph.runs {
		row := ResultRow{
			At: time.UnixMilli(x.ms), Node: p.key.node, Name: e.names[p.key.node], Probe: p.key.probe,
			Outcome: core.Outcome(x.status & 7), Reason: codes[x.status].Reason, Message: codes[x.status].Message,
		}
		if x.ok {
			row.RTT = time.Duration(x.v) * time.Microsecond
		}
		for _, name := range metrics {
			s := p.metrics[name]
			readings := ph.metrics[s.id]
			for len(readings) > 0 && readings[0].ms < x.ms {
				readings = readings[1:]
			}
			if len(readings) > 0 && readings[0].ms == x.ms {
				row.Metrics = append(row.Metrics, core.Metric{Name: name, Value: float64(readings[0].v) / float64(s.scale)})
			}
			ph.metrics[s.id] = readings
		}
		if x.ms < from || x.ms >= to {
			continue
		}
		if err := do(row); err != nil {
			return err
		}
	}
	return nil
}

// Sums calls do with the hourly sums of the days that are over, day by day.
func (r *Reader) Sums(ctx context.Context, q ExportQuery, do func(SumRow) error) error {
	e, err := r.exporter(ctx, q)
	if err != nil || len(e.ids) == 0 {
		return err
	}
	first, end, err := r.days(ctx, q)
	if err != nil {
		return err
	}
	for day := first; day < end; day++ {
		q.progress(day-first, end-first)
		if err := e.day(ctx, day, do); err != nil {
			return err
		}
	}
	q.progress(end-first, end-first)
	return nil
}

// days is those that have roll-ups: first to end.
func (r *Reader) days(ctx context.Context, q ExportQuery) (first, end int64, err error) {
	var low, high int64
	err = r.s.reader.NewSelect().Model((*rollupRow)(nil)).ColumnExpr("COALESCE(MIN(id), 0) >> ?, COALESCE(MAX(id), 0) >> ?", seriesBits, seriesBits).
		Scan(ctx, &low, &high)
	if err != nil || high == 0 {
		return 0, 0, err
	}
	const dayMS = dayHours * hourMS
	from, to := q.bounds()
	return max(low, from/dayMS), min(high, (to-1)/dayMS) + 1, nil
}

func (e *exporter) day(ctx context.Context, day int64, do func(SumRow) error) error {
	days := map[int64][]byte{}
	read, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := e.r.s.snapshot(read, func(snap *snapshot) error {
		return snap.packed(read, "rollup", day, day+1, e.ids, func(_, series int64, data []byte) { days[series] = slices.Clone(data) })
	})
	if err != nil {
		return fmt.Errorf("read hourly sums: %w", err)
	}
	for _, p := range e.paths {
		if err := e.sums(p, "", p.run, day, days[p.run.id], do); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(p.metrics)) {
			s := p.metrics[name]
			if err := e.sums(p, name, s, day, days[s.id], do); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *exporter) sums(p *path, metric string, s series, day int64, data []byte, do func(SumRow) error) error {
	if len(data) == 0 {
		return nil
	}
	_, hours, err := readRollup(data)
	if err != nil {
		e.r.s.o.Log.Error("a roll-up is lost", "node", p.key.node, "probe", p.key.probe, "metric", metric, "error", err)
		return nil
	}
	from, to := e.q.bounds()
	for i := range hours {
		h := &hours[i]
		ms := (day*dayHours + int64(h.hour)) * hourMS
		if ms < from || ms >= to {
			continue
		}
		row := SumRow{
			Hour: time.UnixMilli(ms), Node: p.key.node, Name: e.names[p.key.node], Probe: p.key.probe, Metric: metric,
			Runs: h.runs, Failures: h.failures, Values: h.n,
		}
		if scale := float64(s.scale); h.n > 0 {
			row.Min, row.Mean, row.Max = float64(h.min)/scale, float64(h.mean)/scale, float64(h.max)/scale
			row.P50, row.P90, row.P99 = h.quantile(0.5)/scale, h.quantile(0.9)/scale, h.quantile(0.99)/scale
		}
		if err := do(row); err != nil {
			return err
		}
	}
	return nil
}

// quantile is that of an hour's sketch; NaN of a metric, which has none.
func (h *hourSum) quantile(q float64) float64 {
	var all histogram
	all.sum(h)
	return all.quantile(q)
}

// Events calls do with every event, the oldest first.
func (r *Reader) Events(ctx context.Context, q ExportQuery, do func(core.Event) error) error {
	counts, err := r.Counts(ctx)
	if err != nil {
		return err
	}
	from, to := q.bounds()
	var done, last int64
	for {
		var rows []eventRow
		sel := r.s.reader.NewSelect().Model(&rows).Where("id > ?", last).Where("(ended_us IS NULL OR ended_us >= ?)", from*1000).
			Where("began_us < ?", to*1000).Order("id").Limit(maxEvents)
		if q.Node != "" {
			sel = sel.Where("subject = ?", q.Node)
		}
		if err := sel.Scan(ctx); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		for _, row := range rows {
			last = row.ID
			if err := do(row.event()); err != nil {
				return err
			}
		}
		if done += int64(len(rows)); len(rows) < maxEvents {
			q.progress(counts.Events, counts.Events)
			return nil
		}
		q.progress(done, counts.Events)
	}
}

// Nodes is the nodes that are known.
func (r *Reader) Nodes(ctx context.Context) ([]core.Node, error) { return r.s.Nodes(ctx) }
