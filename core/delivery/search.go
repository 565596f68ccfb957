package delivery

const (
	// maxRecords and maxBytes bound a batch.
	maxRecords = 500
	maxBytes   = 512 << 10
	// refusals is how often one and the same batch is tried before it is
	// believed that the receiver will never take it.
	refusals = 3
	// growth is by how much batches grow again with each that is taken after the
	// receiver had refused one for its size: slow, as growing too far costs
	// three refusals and a search.
	growth = 1
)

// search sizes the batches of one reporter, and finds the record because of
// which a batch is refused for good by halving it.
type search struct {
	// ceiling is the size of a batch when nothing is wrong.
	ceiling int
	// bad says that one of the next bad records is refused; 0 when nothing is known.
	bad int
	// tries counts refusals in a row of what is being tried.
	tries int
	// skipped counts records given up since the receiver last took one.
	skipped int
}

// size is the number of records to try next.
func (s *search) size() int {
	if s.bad > 0 {
		return max(1, s.bad/2)
	}
	return s.ceiling
}

// accepted notes that the receiver took the next n records.
func (s *search) accepted(n int) {
	s.tries, s.skipped = 0, 0
	if s.bad == 0 {
		s.ceiling = min(maxRecords, s.ceiling+growth)
		return
	}
	s.bad = max(0, s.bad-n)
	if s.bad == 0 { // every piece passed: it was the size
		s.ceiling = max(1, s.ceiling/2)
	}
}

// refused notes that the receiver will not take the next n records, and tells
// whether to give up the first of them: it was tried alone, and often enough.
func (s *search) refused(n int) (poison bool) {
	if s.bad > 0 && n > 1 {
		s.bad = n
		return false
	}
	if s.tries++; s.tries < refusals {
		return false
	}
	s.tries = 0
	if n > 1 {
		s.bad = n
		return false
	}
	s.bad = 0
	s.skipped++
	return true
}

// patience is the exponent of the pause before the next try. It grows with the
// records given up in a row: a receiver that refuses everything, for a wrong
// password say, costs a record in eight minutes and not the whole backlog.
func (s *search) patience() int { return max(0, s.tries-1) + refusals*s.skipped }
