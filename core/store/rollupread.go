package store

import "math"

// readRollup unpacks a day. It does not trust what it reads.
func readRollup(data []byte) (kind byte, hours []hourSum, err error) {
	if len(data) == 0 || data[0] < rollupRuns || data[0] > rollupValues+rollupRough {
		return 0, nil, errBadRollup
	}
	r := rollupReader{bitReader: readBits(data[1:]), rough: data[0] > rollupValues}
	if kind = data[0]; r.rough {
		kind -= rollupRough
	}
	there := uint64(1<<dayHours - 1)
	if !r.rough || r.bits(1) == 0 {
		there = r.bits(dayHours)
	}
	hours = make([]hourSum, 0, dayHours)
	for h := range dayHours {
		if there>>(dayHours-1-h)&1 == 1 {
			hours = append(hours, hourSum{hour: h})
		}
	}
	if kind == rollupRuns {
		r.runs(hours)
	} else {
		r.values(hours)
	}
	if r.bad || r.left < 0 {
		return 0, nil, errBadRollup
	}
	return kind, hours, nil
}

type rollupReader struct {
	bitReader
	rough bool // kinds 3 and 4
	bad   bool
	vs    []uint64 // the column read last
}

// column reads a column for n hours, or fails when one is above most.
func (r *rollupReader) column(n int, most uint64) []uint64 {
	if r.rough {
		r.vs = r.dense(r.vs, n)
	} else {
		r.vs = r.bitReader.column(r.vs, n)
	}
	for i, v := range r.vs {
		if v > most {
			r.bad, r.vs[i] = true, 0
		}
	}
	return r.vs
}

// No more runs than milliseconds can begin in an hour.
const mostRuns = hourMS

// counts are each told by the one before or, within 2 %, by the first.
func (r *rollupReader) counts(n int) []int64 {
	all := make([]int64, n)
	for i, u := range r.column(n, 2*mostRuns) {
		switch all[i] = unzigzag(u); {
		case i > 0 && r.rough:
			all[i] += all[0]
		case i > 0:
			all[i] += all[i-1]
		}
	}
	return all
}

func (r *rollupReader) runs(hours []hourSum) {
	for i, v := range r.counts(len(hours)) {
		hours[i].runs = v
	}
	for i, u := range r.column(len(hours), mostRuns) {
		hours[i].failures = int64(u)
	}
	for i, u := range r.column(len(hours), 4*mostRuns) {
		hours[i].n = hours[i].runs - hours[i].failures - unzigzag(u)
	}
	if measured := r.measured(hours); len(measured) > 0 && !r.bad {
		r.sketches(measured)
	}
}

// measured is those with values; all must be sound so far.
func (r *rollupReader) measured(hours []hourSum) []*hourSum {
	measured := make([]*hourSum, 0, dayHours)
	for i := range hours {
		h := &hours[i]
		if h.n < 0 || h.n > mostRuns || h.runs < 0 || h.runs > mostRuns || h.failures > h.runs {
			r.bad = true
		}
		if h.n > 0 {
			measured = append(measured, h)
		}
	}
	return measured
}

func (r *rollupReader) sketches(measured []*hourSum) {
	r.bins(measured)
	for _, h := range measured {
		if h.bins[0].bin < 0 || h.bins[len(h.bins)-1].bin >= maxCoarse {
			r.bad = true
		}
	}
	if r.bad {
		return
	}
	for i, u := range r.column(len(measured), maxScaled) {
		h := measured[i]
		h.min = r.from(coarseLow(h.bins[0].bin), int64(u))
	}
	for i, u := range r.column(len(measured), maxScaled) {
		h := measured[i]
		h.max = r.from(coarseHigh(h.bins[len(h.bins)-1].bin), -int64(u))
	}
	for i, u := range r.column(len(measured), math.MaxUint64) {
		h := measured[i]
		h.mean = r.from(h.sketchMean(), unzigzag(u))
		r.check(h)
	}
}

// from is what lies so many steps from v, or as much more.
func (r *rollupReader) from(v, n int64) int64 {
	if !r.rough {
		return v + n
	}
	i := stepOf(v)
	if n > maxStep || n < -maxStep || i+n < 0 || i+n > maxStep {
		r.bad = true
		return v
	}
	return ofStep(i + n)
}

func (r *rollupReader) bins(measured []*hourSum) {
	gaps, before := 0, int64(0)
	for i, u := range r.column(len(measured), maxCoarse) {
		measured[i].bins = make([]binCount, u+1)
		gaps += int(u)
	}
	for i, u := range r.column(len(measured), 2*maxCoarse) {
		before += unzigzag(u)
		measured[i].bins[0].bin = int(before)
	}
	vs := r.column(gaps, maxCoarse)
	for _, h := range measured {
		for i := 1; i < len(h.bins); i++ {
			h.bins[i].bin = h.bins[i-1].bin + 1 + int(vs[0])
			vs = vs[1:]
		}
	}
	vs = r.column(gaps, mostRuns)
	for _, h := range measured {
		rest, last := h.n, len(h.bins)-1
		for i := range last {
			h.bins[i].count = 1 + int64(vs[0])
			rest, vs = rest-h.bins[i].count, vs[1:]
		}
		h.bins[last].count = rest
		r.bad = r.bad || rest <= 0
	}
}

func (r *rollupReader) values(hours []hourSum) {
	for i, v := range r.counts(len(hours)) {
		hours[i].n = v
	}
	measured := r.measured(hours)
	if r.rough {
		r.grained(measured)
		return
	}
	r.mins(measured)
	varied := r.varied(measured)
	for i, u := range r.column(len(varied), 2*maxScaled) {
		varied[i].max += int64(u)
		r.bad = r.bad || u == 0
	}
	for i, u := range r.column(len(varied), 2*maxScaled) {
		varied[i].mean += int64(u)
		r.check(varied[i])
	}
}

func (r *rollupReader) mins(measured []*hourSum) {
	var before int64
	for i, u := range r.column(len(measured), math.MaxUint64) {
		before += unzigzag(u)
		measured[i].min, measured[i].mean, measured[i].max = before, before, before
		r.check(measured[i])
	}
}

// varied is those whose values differ.
func (r *rollupReader) varied(measured []*hourSum) (varied []*hourSum) {
	varied = make([]*hourSum, 0, len(measured))
	for i, u := range r.column(len(measured), 1) {
		if u == 1 {
			varied = append(varied, measured[i])
		}
	}
	return varied
}

// grained reads values that are counted in grains.
func (r *rollupReader) grained(measured []*hourSum) {
	varied := r.varied(measured)
	var grain [dayHours]uint // by hour
	var before int64
	for i, u := range r.column(len(varied), 2*64) {
		before += unzigzag(u)
		r.bad = r.bad || before < 0 || before > 60
		grain[varied[i].hour] = uint(min(max(before, 0), 60))
	}
	before = 0
	for i, u := range r.column(len(measured), math.MaxUint64) {
		h := measured[i]
		before = r.ofGrains(before>>grain[h.hour]+unzigzag(u), grain[h.hour])
		h.min, h.mean, h.max = before, before, before
		r.check(h)
	}
	for i, u := range r.column(len(varied), 2*maxScaled) {
		h := varied[i]
		h.max = r.ofGrains(h.min>>grain[h.hour]+int64(u), grain[h.hour])
		r.bad = r.bad || u == 0
	}
	for i, u := range r.column(len(varied), 2*maxScaled) {
		h := varied[i]
		h.mean = r.ofGrains(h.min>>grain[h.hour]+int64(u), grain[h.hour])
		r.check(h)
	}
}

func (r *rollupReader) ofGrains(v int64, g uint) int64 {
	if limit := int64(maxScaled) >> g; v < -limit || v > limit {
		r.bad = true
		return 0
	}
	return min(max(v<<g, 1-maxScaled), maxScaled-1) // it was rounded
}

func (r *rollupReader) check(h *hourSum) {
	if h.min <= -maxScaled || h.max >= maxScaled || h.mean < h.min || h.mean > h.max {
		r.bad = true
	}
}
