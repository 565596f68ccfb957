package store

import (
	"math/bits"
	"slices"
)

// bitWriter writes numbers of any number of bits, highest bit first.
type bitWriter struct {
	b    []byte
	acc  uint64 // its lowest held bits are not in b yet
	held uint
}

// bits writes the lowest n bits of v, n up to 64.
func (w *bitWriter) bits(v uint64, n uint) {
	for n > 32 {
		n -= 32
		w.bits(v>>n&(1<<32-1), 32)
	}
	w.acc = w.acc<<n | v&(1<<n-1)
	for w.held += n; w.held >= 8; {
		w.held -= 8
		w.b = append(w.b, byte(w.acc>>w.held))
	}
}

// done pads the last byte with zeros.
func (w *bitWriter) done() []byte {
	if w.held > 0 {
		w.b = append(w.b, byte(w.acc<<(8-w.held)))
		w.held = 0
	}
	return w.b
}

// Numbers of a column are Rice-coded (Rice, Plaunt: IEEE 1971) with one parameter
// k for all of them: v>>k in unary, then the lowest k bits. Near the entropy when
// they are spread like distances are.
//
// A dense column says its first number, and one that all others are, in full where
// that takes less: figures that stay as they are cost next to nothing.
const (
	// riceEscape ones tell that the number follows in full: 6 bits length - 1,
	// then the number.
	riceEscape = 20
	riceBits   = 6 // of k
	// In the place of k, in dense columns: all numbers are one; all but the first;
	// the first in full, then k and the others. A number in full is its length and
	// its bits.
	columnSame  = 1<<riceBits - 1
	columnRest  = columnSame - 1
	columnFirst = columnSame - 2
	fullBits    = 7 // of the length, 0 to 64
)

// column writes k and the numbers; nothing when there are none.
func (w *bitWriter) column(vs []uint64) {
	if len(vs) == 0 {
		return
	}
	k, _ := riceParameter(vs)
	w.bits(uint64(k), riceBits)
	w.rice(vs, k)
}

func (w *bitWriter) rice(vs []uint64, k uint) {
	for _, v := range vs {
		if q := v >> k; q < riceEscape {
			w.bits(1<<(q+1)-2, uint(q)+1) // q ones and a zero
			w.bits(v, k)
			continue
		}
		w.bits(1<<riceEscape-1, riceEscape)
		n := uint(bits.Len64(v))
		w.bits(uint64(n-1), 6)
		w.bits(v, n)
	}
}

func (w *bitWriter) full(v uint64) {
	n := uint(bits.Len64(v))
	w.bits(uint64(n), fullBits)
	w.bits(v, n)
}

func fullCost(v uint64) uint64 { return fullBits + uint64(bits.Len64(v)) }

// dense writes a dense column; nothing when there are no numbers.
func (w *bitWriter) dense(vs []uint64) {
	if len(vs) == 0 {
		return
	}
	rest := vs[1:]
	same := len(rest) == 0 || !slices.ContainsFunc(rest, func(v uint64) bool { return v != rest[0] })
	switch {
	case same && (len(rest) == 0 || rest[0] == vs[0]):
		w.bits(columnSame, riceBits)
		w.full(vs[0])
		return
	case same:
		w.bits(columnRest, riceBits)
		w.full(vs[0])
		w.full(rest[0])
		return
	}
	all, cost := riceParameter(vs)
	k, less := riceParameter(rest)
	if less+fullCost(vs[0])+riceBits < cost {
		w.bits(columnFirst, riceBits)
		w.full(vs[0])
		vs, all = rest, k
	}
	w.bits(uint64(all), riceBits)
	w.rice(vs, all)
}

// riceParameter is the k that costs least, and how many bits that is. Those that
// mean something else in a dense column are for numbers that none has.
func riceParameter(vs []uint64) (best uint, least uint64) {
	least = ^uint64(0)
	for k := uint(0); k < columnFirst; k++ {
		var cost, high uint64
		for _, v := range vs {
			q := v >> k
			high |= q
			if q < riceEscape {
				cost += q + 1 + uint64(k)
			} else {
				cost += riceEscape + 6 + uint64(bits.Len64(v))
			}
		}
		if cost < least {
			best, least = k, cost
		}
		if high == 0 {
			break // more bits cost more
		}
	}
	return best, least
}

// bitReader reads what bitWriter wrote, and zeros behind the end.
type bitReader struct {
	b    []byte
	acc  uint64 // its highest held bits are next
	held uint
	left int // bits; negative when more were read than there are
}

func readBits(b []byte) bitReader { return bitReader{b: b, left: 8 * len(b)} }

func (r *bitReader) fill() {
	for r.held <= 56 {
		if len(r.b) > 0 {
			r.acc |= uint64(r.b[0]) << (56 - r.held)
			r.b = r.b[1:]
		}
		r.held += 8
	}
}

// bits reads n bits, n up to 64.
func (r *bitReader) bits(n uint) (v uint64) {
	for n > 32 {
		n -= 32
		v = v<<32 | r.bits(32)
	}
	if n == 0 {
		return v
	}
	if r.held < n {
		r.fill()
	}
	v = v<<n | r.acc>>(64-n)
	r.acc <<= n
	r.held -= n
	r.left -= int(n)
	return v
}

// rice reads one number of a column.
func (r *bitReader) rice(k uint) uint64 {
	if r.held < riceEscape+1 {
		r.fill()
	}
	q := uint(bits.LeadingZeros64(^r.acc))
	if q >= riceEscape {
		r.bits(riceEscape)
		return r.bits(uint(r.bits(6)) + 1)
	}
	r.bits(q + 1)
	return uint64(q)<<k | r.bits(k)
}

// column reads n numbers into vs.
func (r *bitReader) column(vs []uint64, n int) []uint64 {
	vs = slices.Grow(vs[:0], n)
	if n == 0 {
		return vs
	}
	return r.rices(vs, n, uint(r.bits(riceBits)))
}

func (r *bitReader) rices(vs []uint64, n int, k uint) []uint64 {
	for ; n > 0; n-- {
		vs = append(vs, r.rice(k))
	}
	return vs
}

func (r *bitReader) full() uint64 { return r.bits(min(uint(r.bits(fullBits)), 64)) }

// dense reads n numbers of a dense column into vs.
func (r *bitReader) dense(vs []uint64, n int) []uint64 {
	vs = vs[:0]
	if n == 0 {
		return vs
	}
	k := uint(r.bits(riceBits))
	switch k {
	case columnSame:
		return append(vs, slices.Repeat([]uint64{r.full()}, n)...)
	case columnRest:
		vs = append(vs, r.full())
		return append(vs, slices.Repeat([]uint64{r.full()}, n-1)...)
	case columnFirst:
		vs, n, k = append(vs, r.full()), n-1, uint(r.bits(riceBits))
	}
	return r.rices(vs, n, k)
}
