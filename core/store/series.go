package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// maxPathMetrics of one probe at one node, so that a plugin that makes up
	// names as it goes cannot fill the database.
	maxPathMetrics = 64
	maxNameBytes   = 128
	// micro is the scale of values that are not whole: RTT in microseconds,
	// ratios in millionths.
	micro = 1_000_000
)

// scaleOf is what values of a metric are multiplied with before they are
// rounded to integers. Integers are what delta packing works on, and 6 digits
// after the point are more than any unit here is measured to. Bytes are whole.
func scaleOf(metric string) int64 {
	if strings.HasSuffix(metric, "_bytes") {
		return 1
	}
	return micro
}

// scaled is nil for a value that is not a number or out of range.
func scaled(v float64, scale int64) *int64 {
	v = math.Round(v * float64(scale))
	if !(math.Abs(v) < maxScaled) { // also NaN
		return nil
	}
	n := int64(v)
	return &n
}

type pathKey struct {
	node  core.NodeID
	probe string
}

type series struct{ id, scale int64 }

// path is one probe at one node.
type path struct {
	key     pathKey
	run     series
	metrics map[string]series
	mark    mark
}

// mark is where the rows of a path end, with its last runs. Runs may begin in
// the same millisecond, which is the key of their rows, and end in any order: a
// row that finds its place taken is moved on.
type mark struct {
	stored int64 // the newest row, ms
	last   [4]placed
	next   int // of last, to be replaced
}

// placed is a run and where its row is: began or a little later.
type placed struct {
	began, stored int64 // ms
	job           uint64
}

// place is where the row of a run that began at ms goes, and the mark after it.
// A run with the number and the time of an earlier one is that run, saved
// again: its row stays where it is.
func (m mark) place(ms int64, job uint64) (int64, mark) {
	for _, p := range m.last {
		if job != 0 && p.job == job && p.began == ms {
			return p.stored, m
		}
	}
	at := ms
	for slices.ContainsFunc(m.last[:], func(p placed) bool { return p.stored == at }) {
		at++
	}
	m.last[m.next] = placed{ms, at, job}
	m.next = (m.next + 1) % len(m.last)
	m.stored = max(m.stored, at)
	return at, m
}

type pathCache struct {
	paths  map[pathKey]*path
	byID   map[int64]*path // by the id of each of its series
	lastID int64
}

// newID is for a new series; 0 when there are too many. Ids are given again only
// when all have been: what is packed is found by them.
func (c *pathCache) newID() int64 {
	if c.lastID < maxSeries {
		c.lastID++
		return c.lastID
	}
	for id := int64(1); id <= maxSeries; id++ {
		if c.byID[id] == nil {
			return id
		}
	}
	return 0
}

func (c *pathCache) put(k pathKey) *path {
	p := &path{key: k, metrics: map[string]series{}}
	c.paths[k] = p
	return p
}

func (c *pathCache) set(p *path, metric string, s series) {
	c.byID[s.id] = p
	if metric == "" {
		p.run = s
	} else {
		p.metrics[metric] = s
	}
}

func (c *pathCache) unset(p *path, metric string) {
	if metric == "" {
		delete(c.byID, p.run.id)
		p.run = series{}
	} else {
		delete(c.byID, p.metrics[metric].id)
		delete(p.metrics, metric)
	}
}

// remove forgets a path with all its series.
func (c *pathCache) remove(p *path) {
	delete(c.byID, p.run.id)
	for _, s := range p.metrics {
		delete(c.byID, s.id)
	}
	delete(c.paths, p.key)
}

// path is nil when there are too many series.
func (c *commit) path(rows *resultRows, k pathKey) *path {
	cache := &c.w.paths
	if p := cache.paths[k]; p != nil && p.run.id != 0 {
		return p
	}
	k.probe = clean(k.probe, maxNameBytes)
	p := cache.paths[k]
	if p == nil {
		p = cache.put(k)
		c.onFailure(func() { delete(cache.paths, k) })
	}
	if p.run.id == 0 {
		if _, ok := c.newSeries(rows, p, ""); !ok {
			return nil
		}
	}
	return p
}

func (c *commit) newSeries(rows *resultRows, p *path, metric string) (s series, ok bool) {
	id := c.w.paths.newID()
	if id == 0 {
		c.onSuccess(func() { c.w.s.count(func(st *Stats) { st.MetricsRefused++ }) })
		return series{}, false
	}
	s = series{id, scaleOf(metric)}
	c.w.paths.set(p, metric, s)
	c.onFailure(func() { c.w.paths.unset(p, metric) })
	rows.series = append(rows.series, seriesRow{ID: s.id, Node: p.key.node.String(), Probe: p.key.probe, Metric: metric, Scale: s.scale})
	return s, true
}

// loadPaths reads the series and the newest run of each path.
func loadPaths(ctx context.Context, db bun.IDB) (pathCache, error) {
	cache := pathCache{paths: map[pathKey]*path{}, byID: map[int64]*path{}}
	var rows []seriesRow
	if err := db.NewSelect().Model(&rows).OrderExpr("id").Scan(ctx); err != nil {
		return cache, fmt.Errorf("read series: %w", err)
	}
	for _, r := range rows {
		id, err := core.ParseNodeID(r.Node)
		if err != nil {
			return cache, fmt.Errorf("read series %d: %w", r.ID, err)
		}
		p := cache.paths[pathKey{id, r.Probe}]
		if p == nil {
			p = cache.put(pathKey{id, r.Probe})
		}
		cache.set(p, r.Metric, series{r.ID, r.Scale})
		cache.lastID = max(cache.lastID, r.ID)
	}
	return cache, nil
}
