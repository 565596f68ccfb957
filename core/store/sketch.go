package store

import (
	"math"
	"math/bits"
)

// A sketch counts values by their size, in bins whose width is a fixed share of
// the value: a DDSketch (Masson, Rim, Lee: VLDB 2019) with the linearly
// interpolated mapping of its section 2.2. Each octave has as many bins, and bin
// j of octave e covers
//
//	[2^e + j*2^e/bins, 2^e + (j+1)*2^e/bins)
//
// so what is taken for a value in it is wrong by a share of 1/(2*bins+1) at
// most. It needs integers only, and sketches add up exactly. Roll-ups keep
// coarseBins, questions that raw results answer count in fineBins; five fine
// bins are exactly one coarse one.
const (
	coarseBins = 10 // within 4.8 %
	fineBins   = 50 // within 1 %
	perCoarse  = fineBins / coarseBins
	// maxSketched keeps the sums of the mapping within int64; RTT in
	// microseconds stays far below.
	maxSketched = 1<<56 - 1
	maxCoarse   = 56 * coarseBins
)

// fineBin is the bin of v, which counts as 1 when it is less.
func fineBin(v int64) int {
	u := uint64(min(max(v, 1), maxSketched))
	e := bits.Len64(u) - 1
	return e*fineBins + int((u-1<<e)*fineBins>>e)
}

func coarseBin(v int64) int { return fineBin(v) / perCoarse }

// coarseLow is the least integer in a bin, coarseHigh the greatest.
func coarseLow(bin int) int64 {
	e, j := bin/coarseBins, int64(bin%coarseBins)
	return 1<<e + (j<<e+coarseBins-1)/coarseBins
}

func coarseHigh(bin int) int64 { return coarseLow(bin+1) - 1 }

// fineMiddle is the value that is wrong by the least share anywhere in the bin.
func fineMiddle(bin int) float64 {
	octave := math.Ldexp(1, bin/fineBins)
	low := octave * (1 + float64(bin%fineBins)/fineBins)
	high := octave * (1 + float64(bin%fineBins+1)/fineBins)
	return 2 * low * high / (low + high)
}

// histogram is a sketch in fine bins, in memory.
type histogram struct {
	first  int // bin of counts[0]
	counts []uint32
	n      uint64
	// min and max are exact.
	min, max int64
}

// add counts v n times in a bin.
func (h *histogram) add(bin int, n uint32) {
	i := bin - h.first
	if i < 0 || i >= len(h.counts) {
		h.grow(bin)
		i = bin - h.first
	}
	h.counts[i] += n
	h.n += uint64(n)
}

func (h *histogram) value(v int64) {
	h.bounds(v, v)
	h.add(fineBin(v), 1)
}

// sum takes in the sketch of an hour.
func (h *histogram) sum(s *hourSum) {
	if s.n == 0 {
		return
	}
	h.bounds(s.min, s.max)
	for _, b := range s.bins {
		h.add(b.bin*perCoarse+perCoarse/2, uint32(b.count))
	}
}

func (h *histogram) bounds(least, most int64) {
	if h.n == 0 || least < h.min {
		h.min = least
	}
	if h.n == 0 || most > h.max {
		h.max = most
	}
}

// grow makes room by whole octaves.
func (h *histogram) grow(bin int) {
	first := bin - bin%fineBins
	end := first + fineBins
	if len(h.counts) > 0 {
		first, end = min(first, h.first), max(end, h.first+len(h.counts))
	}
	counts := make([]uint32, end-first)
	copy(counts[max(0, h.first-first):], h.counts)
	h.first, h.counts = first, counts
}

// quantile is the value that a share q of all is not above; NaN of nothing.
func (h *histogram) quantile(q float64) float64 {
	if h.n == 0 {
		return math.NaN()
	}
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	var sum uint64
	for i, n := range h.counts {
		if sum += uint64(n); sum >= rank {
			return min(max(fineMiddle(h.first+i), float64(h.min)), float64(h.max))
		}
	}
	return float64(h.max)
}
