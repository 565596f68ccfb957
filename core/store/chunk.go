package store

import (
	"encoding/binary"
	"errors"
)

// A chunk is what one series measured in one hour, packed: some 4 bytes a run.
// The views of migration 0002 read it too, so it is made of bytes, not bits.
//
// Of a run series (metric ''), all numbers uvarint:
//
//	first run's begin, ms into the hour; mean distance of two runs, ms
//	each run:
//	    zigzag(distance to the run before - mean distance); not of the first one
//	    value: 0    another status: its code, then 0 or zigzag(delta) + 1
//	           1    success, nothing measured
//	           2    nothing measured, the status that the last 0 told
//	           else success, zigzag(delta) + 3
//
// Delta is the difference to the last value measured. Of a metric, where value i
// belongs to run i of the same path and hour:
//
//	0     the one before once more, and again: how often, in all
//	1     not measured
//	else  zigzag(delta) + 2
//
// Runs at the end without a value are left out.

const (
	hourMS = 3_600_000
	// seriesBits is what a series id may have: a chunk's id is hour<<20 | series,
	// a roll-up's day<<20 | series. Time comes first, so that what is trimmed
	// lies together.
	seriesBits = 20
	maxSeries  = 1<<seriesBits - 1
	// maxScaled keeps sums and zigzags of differences within int64.
	maxScaled = 1 << 60
	// statusSuccess is the code of a plain success.
	statusSuccess = 1
)

var errBadChunk = errors.New("packed results are damaged")

// sample is a scaled value, or nothing measured.
type sample struct {
	v  int64
	ok bool
}

// run is one run of a probe.
type run struct {
	ms     int64
	status int64
	sample
}

// numbers reads uvarints that may be damaged.
type numbers struct {
	b   []byte
	err error
}

func (r *numbers) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		u := uint64(r.b[0])
		r.b = r.b[1:]
		return u
	}
	u, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return u
}

func (r *numbers) fail() { r.err = errBadChunk }

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// appendRuns packs runs of one hour, sorted by time.
func appendRuns(b []byte, hour int64, runs []run) []byte {
	if len(runs) == 0 {
		return b
	}
	first := runs[0].ms
	step := int64(0)
	if n := int64(len(runs) - 1); n > 0 {
		step = (runs[n].ms - first + n/2) / n
	}
	b = binary.AppendUvarint(b, uint64(first-hour*hourMS))
	b = binary.AppendUvarint(b, uint64(step))
	var at, last, other int64
	for i, r := range runs {
		if i > 0 {
			b = binary.AppendUvarint(b, zigzag(r.ms-at-step))
		}
		at = r.ms
		shift := uint64(3)
		switch {
		case r.status == statusSuccess && !r.ok:
			b = append(b, 1)
			continue
		case r.status == other && !r.ok:
			b = append(b, 2)
			continue
		case r.status != statusSuccess:
			b = binary.AppendUvarint(append(b, 0), uint64(r.status))
			other, shift = r.status, 1
			if !r.ok {
				b = append(b, 0)
				continue
			}
		}
		b = binary.AppendUvarint(b, zigzag(r.v-last)+shift)
		last = r.v
	}
	return b
}

// runReader unpacks runs. It does not trust what it reads.
type runReader struct {
	numbers
	begin                 int64 // of the hour, ms
	at, step, last, other int64
	started               bool
}

func readRuns(hour int64, data []byte) runReader {
	return runReader{numbers: numbers{b: data}, begin: hour * hourMS}
}

// next is false at the end, and when err is set.
func (r *runReader) next(x *run) bool {
	if len(r.b) == 0 || r.err != nil {
		return false
	}
	if r.started {
		r.at += r.step + unzigzag(r.uvarint())
	} else {
		r.started = true
		r.at = r.begin + int64(r.uvarint())
		r.step = int64(r.uvarint())
	}
	*x = run{ms: r.at, status: statusSuccess}
	switch u := r.uvarint(); u {
	case 0:
		r.other = int64(r.uvarint())
		x.status = r.other
		if u = r.uvarint(); u > 0 {
			r.value(x, u-1)
		}
	case 1:
	case 2:
		x.status = r.other
	default:
		r.value(x, u-3)
	}
	if r.at < r.begin || r.at >= r.begin+hourMS || r.step < 0 || r.step > hourMS || x.status <= 0 {
		r.fail()
	}
	return r.err == nil
}

func (r *runReader) value(x *run, u uint64) {
	r.last += unzigzag(u)
	if r.last <= -maxScaled || r.last >= maxScaled {
		r.fail()
	}
	x.v, x.ok = r.last, true
}

// appendValues packs the values of a metric, nothing when there is none.
func appendValues(b []byte, vs []sample) []byte {
	for len(vs) > 0 && !vs[len(vs)-1].ok {
		vs = vs[:len(vs)-1]
	}
	var last int64
	for i := 0; i < len(vs); {
		if vs[i].ok {
			b = binary.AppendUvarint(b, zigzag(vs[i].v-last)+2)
			last = vs[i].v
		} else {
			b = append(b, 1)
		}
		same := 1
		for i+same < len(vs) && vs[i+same] == vs[i] {
			same++
		}
		switch i += same; {
		case same == 2 && vs[i-1].ok:
			b = append(b, 2) // a difference of 0
		case same == 2:
			b = append(b, 1)
		case same > 2:
			b = binary.AppendUvarint(append(b, 0), uint64(same-1))
		}
	}
	return b
}

// valueReader unpacks the values of a metric. It does not trust what it reads.
type valueReader struct {
	numbers
	last int64 // value
	was  sample
	n    uint64
}

func readValues(data []byte) valueReader { return valueReader{numbers: numbers{b: data}} }

// next is a value and how many runs in a row have it; 0 at the end, and when err
// is set.
func (r *valueReader) next() (s sample, times int) {
	if len(r.b) == 0 || r.err != nil {
		return sample{}, 0
	}
	u, count := r.uvarint(), uint64(1)
	switch u {
	case 0:
		if count = r.uvarint(); count == 0 || r.n == 0 {
			r.fail()
		}
	case 1:
		r.was = sample{}
	default:
		r.last += unzigzag(u - 2)
		r.was = sample{r.last, true}
	}
	// No more runs than milliseconds can begin in an hour.
	if r.n += count; count > hourMS || r.n > hourMS || r.last <= -maxScaled || r.last >= maxScaled {
		r.fail()
	}
	if r.err != nil {
		return sample{}, 0
	}
	return r.was, int(count)
}
