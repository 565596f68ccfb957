package core

import (
	"slices"
	"time"
)

// MatrixQuery selects a matrix.
type MatrixQuery struct {
	// At is a past time; zero is now.
	At time.Time
	// Probe is the one whose paths are told; empty: all.
	Probe string
	// Metric is the one that comes with them; empty: all.
	Metric string
}

// Wants tells that the paths of a probe are asked for.
func (q MatrixQuery) Wants(probe string) bool { return q.Probe == "" || q.Probe == probe }

// Matrix is who sees whom: by source, what reads its row. In a large mesh the
// whole of it has millions of paths, and packed it has a few megabytes, so a row
// is unpacked when it is asked for. Rows may be read at the same time, and again.
type Matrix map[NodeID]func(*MatrixRow)

// MatrixRow is what one node sees. Reading the next row into it uses its memory
// again, also that of metrics.
type MatrixRow struct {
	// Paths are those that were asked for, in no order.
	Paths []PathStatus
	// Probes are those of all paths of the row, Metrics what those asked for have.
	Probes, Metrics []string
	room            []Metric
}

// Reset leaves a row empty.
func (r *MatrixRow) Reset() { r.Paths, r.Probes, r.Metrics = r.Paths[:0], r.Probes[:0], r.Metrics[:0] }

// Room is for n metrics of the paths of the row.
func (r *MatrixRow) Room(n int) []Metric {
	r.room = slices.Grow(r.room[:0], n)[:n]
	return r.room
}

// Add appends a path of a row as far as q asks for it.
func (r *MatrixRow) Add(q MatrixQuery, p PathStatus) {
	r.Probes = addName(r.Probes, 0, p.Probe)
	if !q.Wants(p.Probe) {
		return
	}
	for i, m := range p.Metrics {
		r.Metrics = addName(r.Metrics, i, m.Name)
	}
	if q.Metric != "" {
		p.Metrics = metricOf(p.Metrics, q.Metric)
	}
	r.Paths = append(r.Paths, p)
}

// addName takes down a name, which is probably that at place: names are few, and
// come in nearly the same order a thousand times.
func addName(list []string, place int, name string) []string {
	if place < len(list) && list[place] == name || slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

func metricOf(ms []Metric, name string) []Metric {
	i := slices.IndexFunc(ms, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return ms[i : i+1 : i+1]
}
