package store

// summing makes the sum of an hour out of its values.
type summing struct {
	hourSum
	// The sum of all values is high<<sumBits + low: one int64 could overflow.
	high, low int64
}

const sumBits = 30

func newSum(hour int) *summing { return &summing{hourSum: hourSum{hour: hour}} }

// values takes in v, n times.
func (s *summing) values(v, n int64) {
	if s.n == 0 || v < s.min {
		s.min = v
	}
	if s.n == 0 || v > s.max {
		s.max = v
	}
	s.n += n
	s.high += v >> sumBits * n
	s.low += v & (1<<sumBits - 1) * n
}

// rtt takes in one RTT, us.
func (s *summing) rtt(v int64) {
	v = min(max(v, 1), maxSketched)
	s.values(v, 1)
	s.add(coarseBin(v), 1)
}

// run takes in one run; what says nothing about the node counts only when it
// measured something all the same.
func (s *summing) run(r *run) {
	switch r.status & 7 {
	case 1:
		s.runs++
	case 2:
		s.runs++
		s.failures++
	}
	if r.ok {
		s.rtt(r.v)
	}
}

// done gives the sum with its mean, rounded.
func (s *summing) done() hourSum {
	if s.n > 0 {
		s.mean = s.high/s.n<<sumBits + (s.high%s.n<<sumBits+s.low+s.n/2)/s.n
		s.mean = min(max(s.mean, s.min), s.max)
	}
	return s.hourSum
}

// resume goes on from a sum that was done.
func resume(h hourSum) *summing {
	return &summing{hourSum: h, high: h.mean >> sumBits * h.n, low: h.mean & (1<<sumBits - 1) * h.n}
}

// merge takes in the sum of other values of the same hour.
func (s *summing) merge(o *hourSum) {
	s.runs, s.failures = s.runs+o.runs, s.failures+o.failures
	if o.n == 0 {
		return
	}
	if s.n == 0 {
		s.min, s.max = o.min, o.max
	}
	s.min, s.max = min(s.min, o.min), max(s.max, o.max)
	s.n += o.n
	s.high += o.mean >> sumBits * o.n
	s.low += o.mean & (1<<sumBits - 1) * o.n
	for _, b := range o.bins {
		s.add(b.bin, b.count)
	}
}
