package store

import (
	"cmp"
	"slices"
)

// unpack reads the chunks of a path and hour; data gives that of a series.
// Damage costs what cannot be read.
func (ph *pathHour) unpack(hour int64, of *path, data func(id int64) []byte) error {
	r := readRuns(hour, data(of.run.id))
	for x := (run{}); r.next(&x); {
		ph.runs = append(ph.runs, x)
	}
	err := r.err
	ph.metrics = make(map[int64][]reading, len(of.metrics))
	for _, s := range of.metrics {
		packed := data(s.id)
		if len(packed) == 0 {
			continue
		}
		readings, bad := ph.readings(packed)
		ph.metrics[s.id], err = readings, cmp.Or(err, bad)
	}
	return err
}

// readings is the values of a metric at the times of the runs.
func (ph *pathHour) readings(packed []byte) ([]reading, error) {
	all := make([]reading, 0, len(ph.runs))
	r := readValues(packed)
	for i := 0; i < len(ph.runs); {
		s, n := r.next()
		if n == 0 {
			break
		}
		for end := min(i+n, len(ph.runs)); i < end; i++ {
			if s.ok {
				all = append(all, reading{ph.runs[i].ms, s.v})
			}
		}
	}
	return all, r.err
}

// join adds what was packed before. A run that is in both is one.
func (ph *pathHour) join(old *pathHour) {
	ph.runs = joinByTime(old.runs, ph.runs, func(r run) int64 { return r.ms })
	for id, readings := range old.metrics {
		ph.metrics[id] = joinByTime(readings, ph.metrics[id], func(r reading) int64 { return r.ms })
	}
}

// joinByTime appends to a sorted list another one; of two at one time the old
// one stays.
func joinByTime[T any](old, fresh []T, ms func(T) int64) []T {
	all := append(old, fresh...)
	if len(old) > 0 && len(fresh) > 0 && ms(old[len(old)-1]) >= ms(fresh[0]) {
		slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(ms(a), ms(b)) })
		all = slices.CompactFunc(all, func(a, b T) bool { return ms(a) == ms(b) })
	}
	return all
}

// align gives each run its value of a metric, and counts the values.
func (ph *pathHour) align(readings []reading) (vs []sample, n int64) {
	vs = make([]sample, len(ph.runs))
	for i, r := range ph.runs {
		for len(readings) > 0 && readings[0].ms < r.ms {
			readings = readings[1:]
		}
		if len(readings) > 0 && readings[0].ms == r.ms {
			vs[i] = sample{readings[0].v, true}
			n++
		}
	}
	return vs, n
}
