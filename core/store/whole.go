package store

// whole counts all runs of a chunk: what runReader does, without the times, in a
// third of the time. Percentiles of a mesh of 1,000 read millions of runs.
func (p *pathCount) whole(data []byte) {
	r := varints{b: data}
	r.uvarint() // first run's begin
	r.uvarint() // mean distance
	var last, other int64
	for first := true; r.at < len(data); first = false {
		if !first {
			r.uvarint() // distance
		}
		status, u := int64(statusSuccess), r.uvarint()
		shift := uint64(3)
		switch u {
		case 0:
			other, shift = int64(r.uvarint()), 1
			status, u = other, r.uvarint()
		case 2:
			status = other
		}
		if r.bad || status <= 0 {
			return
		}
		p.outcome(status)
		if u < shift {
			continue
		}
		if last += unzigzag(u - shift); last <= -maxScaled || last >= maxScaled {
			return
		}
		p.rtts.value(last)
	}
}

// varints reads uvarints that may be damaged.
type varints struct {
	b   []byte
	at  int
	bad bool
}

func (r *varints) uvarint() (u uint64) {
	for shift := uint(0); r.at < len(r.b) && shift < 64; shift += 7 {
		c := r.b[r.at]
		r.at++
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return u
		}
	}
	r.bad = true
	return 0
}
