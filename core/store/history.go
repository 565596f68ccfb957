package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// maxBuckets bounds a History: a week by the minute and more than any screen has
// pixels.
const maxBuckets = 11_000

// ErrBadQuery: what was asked for makes no sense or is too much.
var ErrBadQuery = errors.New("bad query")

// History sums up the results of one probe at one node: one bucket per step from
// From until To is covered, also where there is nothing (Runs is 0). Values are
// in seconds for RTT, otherwise in the unit of the metric's name. Runs counts
// what says something about the node: a plugin that broke leaves a gap. Where
// only hourly sums are left, each counts in the bucket in which its hour begins;
// of a metric, Runs then counts the values. Errors: ErrBadQuery.
func (s *Store) History(ctx context.Context, q core.HistoryQuery) ([]core.Bucket, error) {
	buckets, err := emptyBuckets(q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	of, err := s.findSeries(ctx, q)
	if err != nil || of.run == 0 || of.id == 0 {
		return buckets, err
	}
	b := newBucketing(buckets, q)
	fresh := s.tails.of(of.run, b.from, b.to) // before the snapshot: see tails
	err = s.snapshot(ctx, func(snap *snapshot) error { return snap.history(ctx, of, b, fresh) })
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	b.done(of.scale)
	return buckets, nil
}

// asked is the series of a question: run is that of the path, id the same or
// that of a metric.
type asked struct{ run, id, scale int64 }

func (s *Store) findSeries(ctx context.Context, q core.HistoryQuery) (of asked, err error) {
	metric := clean(q.Metric, maxNameBytes)
	var rows []seriesRow
	err = s.reader.NewSelect().Model(&rows).
		Where("node = ? AND probe = ? AND metric IN ('', ?)", q.Node.String(), clean(q.Probe, maxNameBytes), metric).Scan(ctx)
	if err != nil {
		return of, fmt.Errorf("read series: %w", err)
	}
	for _, r := range rows {
		if r.Metric == "" {
			of.run = r.ID
		}
		if r.Metric == metric {
			of.id, of.scale = r.ID, r.Scale
		}
	}
	return of, nil
}

// history reads what is left of a series: hourly sums, then chunks, then the
// tail, where fresh was.
func (s *snapshot) history(ctx context.Context, of asked, b *bucketing, fresh []run) error {
	err := s.sums(ctx, b.from, b.to, []int64{of.id}, func(ms, _ int64, h *hourSum) { b.sum(ms, h, of.id != of.run) })
	if err != nil {
		return err
	}
	first, end, err := s.chunkHours(ctx, b.from, b.to)
	if err != nil {
		return err
	}
	series := []int64{of.run}
	if of.id != of.run {
		series = append(series, of.id)
	}
	reader := chunkReader{asked: of, b: b, fresh: fresh}
	err = s.packed(ctx, "chunk", first, end, series, reader.take)
	if err != nil {
		return err
	}
	reader.flush()
	for part := range slices.Chunk(reader.fresh, idsInQuery) {
		var rows []tailRow
		if err := rowsOf(s.tx, of.id, part).Scan(ctx, &rows); err != nil {
			return err
		}
		for i := range rows {
			x := rows[i].run()
			b.run(&x)
		}
	}
	return nil
}

// chunkReader brings the chunks of a path and of one of its metrics together.
type chunkReader struct {
	asked
	b            *bucketing
	fresh        []run // without what was found in a chunk
	hour         int64
	runs, values []byte
}

func (r *chunkReader) take(hour, series int64, data []byte) {
	if hour != r.hour {
		r.flush()
		r.hour = hour
	}
	if series == r.run {
		r.runs = append(r.runs, data...)
	} else {
		r.values = append(r.values, data...)
	}
}

// flush takes in the hour that is complete. Behind damage there is nothing.
func (r *chunkReader) flush() {
	runs, values := readRuns(r.hour, r.runs), readValues(r.values)
	var s sample
	var times int
	for x := (run{}); runs.next(&x); {
		r.fresh = without(r.fresh, x.ms)
		if r.id != r.run {
			if times == 0 {
				s, times = values.next()
			}
			if times == 0 {
				continue
			}
			times--
			if x.sample = s; !s.ok {
				continue
			}
		}
		r.b.run(&x)
	}
	r.runs, r.values = r.runs[:0], r.values[:0]
}

func emptyBuckets(q core.HistoryQuery) ([]core.Bucket, error) {
	if q.Step < time.Millisecond || !q.From.Before(q.To) {
		return nil, fmt.Errorf("%w: from must be before to, and step at least 1 ms", ErrBadQuery)
	}
	step := q.Step.Truncate(time.Millisecond)
	n := (q.To.Sub(q.From) + step - 1) / step
	if n > maxBuckets {
		return nil, fmt.Errorf("%w: %d steps of %s; at most %d", ErrBadQuery, n, step, maxBuckets)
	}
	return q.Buckets(), nil
}
