package store

import (
	"errors"
	"math/bits"
	"slices"
)

// A roll-up is one day of one series, hour by hour: some 10 bytes an hour with a
// sketch, 3 without, half a byte of what stays as it is. Counts are exact, values
// within 2 %, and those of an hour in which they were all the same exact, too.
//
//	kind byte: 3 of a run series, 4 of a metric
//	1 when all hours are there; else 0 and those that are, 24 bits, the first one highest
//	dense columns (bits.go), each with one number for each hour:
//	    runs (kind 3): zigzag(runs - those of the first hour); failures;
//	        zigzag(runs - failures - n)
//	    values (kind 4): zigzag(n - that of the first hour)
//	columns for each hour in which something was measured:
//	    kind 3: bins - 1; zigzag(first bin - that of the hour before)
//	        of all but the first bin: distance to the bin before - 1
//	        of all but the last bin: count - 1; the last one has the rest of n
//	        steps (below) from the least value of its bin to min; from max to the
//	        greatest value of its bin; zigzag(those from what the sketch says to mean)
//	    kind 4: 0 when max is the same as min, or 1
//	        of those where it is not: zigzag(grain - that of the hour before)
//	        zigzag(min - that of the hour before), in grains of 2^grain, or 1
//	        of those where it is not: max - min; mean - min; in grains
//
// Kinds 1 and 2, of earlier versions, have plain columns, all 24 bits, counts
// less those of the hour before, and no steps or grains: values as they are, and min of kind 2 before the flags.
const (
	rollupRuns   = 1
	rollupValues = 2
	// rollupWhole are values that are told in full, such as an MTU: in grains of 1.
	// They are read as rollupValues.
	rollupWhole = 0
	// rollupRough is what the kind byte is more by for values within 2 %.
	rollupRough = 2
	dayHours    = 24
	// stepBits: an octave has 32 steps, or a mean as many grains at least.
	stepBits = 5
	// maxStep is above that of maxSketched.
	maxStep = 52 << stepBits
)

var errBadRollup = errors.New("roll-up is damaged")

// hourSum is a series in one hour of a day.
type hourSum struct {
	hour int // of the day
	// runs and failures are those that say something about the node; 0 of a
	// metric.
	runs, failures int64
	// n values were measured; without any, the rest is zero.
	n              int64
	min, max, mean int64
	// bins are the sketch of a run series, by rising bin.
	bins []binCount
}

type binCount struct {
	bin   int
	count int64
}

// add counts one value.
func (h *hourSum) add(bin int, n int64) {
	i, found := slices.BinarySearchFunc(h.bins, bin, func(b binCount, bin int) int { return b.bin - bin })
	if !found {
		h.bins = slices.Insert(h.bins, i, binCount{bin: bin})
	}
	h.bins[i].count += n
}

// sketchMean is the mean as far as the bins tell it. Overflow is the same on
// both sides.
func (h *hourSum) sketchMean() int64 {
	var sum int64
	for _, b := range h.bins {
		sum += b.count * ((coarseLow(b.bin) + coarseHigh(b.bin)) / 2)
	}
	return sum / h.n
}

func appendRollup(b []byte, kind byte, hours []hourSum) []byte {
	grain := (*hourSum).grain
	if kind == rollupWhole {
		kind, grain = rollupValues, func(*hourSum) uint { return 0 }
	}
	w := bitWriter{b: append(b, kind+rollupRough)}
	var there uint64
	for _, h := range hours {
		there |= 1 << (dayHours - 1 - h.hour)
	}
	if there == 1<<dayHours-1 {
		w.bits(1, 1)
	} else {
		w.bits(there, 1+dayHours)
	}
	measured := slices.DeleteFunc(slices.Clone(hours), func(h hourSum) bool { return h.n == 0 })
	if kind == rollupRuns {
		w.dense(fromFirst(hours, func(h *hourSum) int64 { return h.runs }))
		w.dense(each(hours, func(h *hourSum) uint64 { return uint64(h.failures) }))
		w.dense(each(hours, func(h *hourSum) uint64 { return zigzag(h.runs - h.failures - h.n) }))
		w.sketches(measured)
	} else {
		w.dense(fromFirst(hours, func(h *hourSum) int64 { return h.n }))
		w.values(measured, grain)
	}
	return w.done()
}

// values writes those of a metric.
func (w *bitWriter) values(measured []hourSum, grain func(*hourSum) uint) {
	w.dense(each(measured, func(h *hourSum) uint64 { return uint64(min(h.max-h.min, 1)) }))
	varied := slices.DeleteFunc(slices.Clone(measured), func(h hourSum) bool { return h.max == h.min })
	w.dense(deltas(varied, func(h *hourSum) int64 { return int64(grain(h)) }))
	var before int64
	w.dense(each(measured, func(h *hourSum) uint64 {
		g := grain(h)
		v := grains(h.min, g)
		d := zigzag(v - before>>g)
		before = v << g
		return d
	}))
	w.dense(each(varied, func(h *hourSum) uint64 { return uint64(grains(h.max, grain(h)) - grains(h.min, grain(h))) }))
	w.dense(each(varied, func(h *hourSum) uint64 { return uint64(grains(h.mean, grain(h)) - grains(h.min, grain(h))) }))
}

// grain is the power of two that the values of an hour are counted in: 1/32 of the
// mean, and 1/16 of what lies between min and max, at most.
func (h *hourSum) grain() uint {
	return uint(max(0, min(bits.Len64(uint64(max(h.mean, -h.mean)))-stepBits-1, bits.Len64(uint64(h.max-h.min))-stepBits)))
}

// grains is v in grains of 2^g, rounded.
func grains(v int64, g uint) int64 {
	if g == 0 {
		return v
	}
	return (v + 1<<(g-1)) >> g
}

// stepOf is the step nearest to v, 0 or more: each octave has 32.
func stepOf(v int64) int64 {
	v = max(v, 0)
	b := bits.Len64(uint64(v)) - stepBits - 1
	if b <= 0 {
		return v
	}
	return int64(b)<<stepBits + grains(v, uint(b))
}

// ofStep is the value of a step up to maxStep.
func ofStep(i int64) int64 {
	b := i>>stepBits - 1
	if b <= 0 {
		return i
	}
	return (i - b<<stepBits) << b
}

func (w *bitWriter) sketches(measured []hourSum) {
	w.dense(each(measured, func(h *hourSum) uint64 { return uint64(len(h.bins) - 1) }))
	w.dense(deltas(measured, func(h *hourSum) int64 { return int64(h.bins[0].bin) }))
	var gaps, counts []uint64
	for _, h := range measured {
		for i, b := range h.bins {
			if i > 0 {
				gaps = append(gaps, uint64(b.bin-h.bins[i-1].bin-1))
				counts = append(counts, uint64(h.bins[i-1].count-1))
			}
		}
	}
	w.dense(gaps)
	w.dense(counts)
	w.dense(each(measured, func(h *hourSum) uint64 { return uint64(stepOf(h.min) - stepOf(coarseLow(h.bins[0].bin))) }))
	w.dense(each(measured, func(h *hourSum) uint64 { return uint64(stepOf(coarseHigh(h.bins[len(h.bins)-1].bin)) - stepOf(h.max)) }))
	w.dense(each(measured, func(h *hourSum) uint64 { return zigzag(stepOf(h.mean) - stepOf(h.sketchMean())) }))
}

func each(hours []hourSum, of func(*hourSum) uint64) []uint64 {
	vs := make([]uint64, len(hours))
	for i := range hours {
		vs[i] = of(&hours[i])
	}
	return vs
}

func deltas(hours []hourSum, of func(*hourSum) int64) []uint64 {
	var before int64
	return each(hours, func(h *hourSum) uint64 {
		v := of(h)
		d := zigzag(v - before)
		before = v
		return d
	})
}

// fromFirst is for counts, which are now a little more and now a little less.
func fromFirst(hours []hourSum, of func(*hourSum) int64) []uint64 {
	return each(hours, func(h *hourSum) uint64 {
		if h == &hours[0] {
			return zigzag(of(h))
		}
		return zigzag(of(h) - of(&hours[0]))
	})
}
