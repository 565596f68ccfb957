package path

// conclude says what is known.
func (s *search) conclude() {
	s.done = true
	r := pmtu{mtu: s.lo, blackHole: holesUnknown}
	hi := s.hi()
	switch {
	case s.lo == 0:
		r.kind = kindUnknown
	case s.lo >= s.top && s.guessed:
		r.kind, r.how = kindAtLeast, howEcho
	case s.lo >= s.top:
		// Nothing that this host can send vanishes.
		r.kind, r.how, r.blackHole = kindAtLocalMax, howEcho, holesNo
	case hi == s.lo+1 && s.unlucky(s.tries(hi), 0) <= doubt:
		r.kind, r.how = kindExact, howSearch
		s.judge(&r)
	default:
		r.kind, r.how = kindAtLeast, howEcho
		s.judge(&r)
	}
	s.result = r
}

// judge tells whether what is too large is refused aloud, and by whom. A host takes
// any claim for which packets pass, even one too small; one too large leaves the hole.
func (s *search) judge(r *pmtu) {
	silent := 0
	for size, t := range s.sizes {
		if size > s.lo {
			silent += t.tries
		}
	}
	if s.unlucky(silent, 0) <= doubt {
		r.blackHole = holesYes
	}
	for _, c := range s.claims {
		if c.size <= s.lo {
			continue // a lie
		}
		if !c.proven {
			// Who has not seen a packet can hardly know the MTU that they prove.
			if c.mtu == s.lo && r.kind == kindExact {
				r.blackHole = holesNo
			}
			continue
		}
		if c.mtu > s.lo { // true of a link before the narrowest, or too much
			if r.kind != kindExact {
				r.blackHole = holesUnknown
			}
			continue
		}
		r.blackHole = holesNo
		if c.mtu == s.lo {
			if r.kind == kindExact {
				r.how = howICMP
			}
			r.by = c.router.String()
			return
		}
		if r.by == "" && c.router.IsValid() {
			r.by = c.router.String()
		}
	}
}

// hi is the smallest size that has failed and is not known to pass; 0 when none has.
func (s *search) hi() int {
	hi := 0
	for size, t := range s.sizes {
		if size > s.lo && t.tries > 0 && (hi == 0 || size < hi) {
			hi = size
		}
	}
	return hi
}

// unlucky is the probability that n packets that could pass were all lost by chance,
// given how those went that are known to pass, and if as many more as good pass:
//
//	E[q^n], q ~ Beta(priorLost+lost, priorPassed+passed) = prod (lost'+i)/(all'+i), i < n
func (s *search) unlucky(n, good int) float64 {
	lost, all := float64(priorLost), float64(priorLost+priorPassed+good)
	for size, t := range s.sizes {
		if size <= s.lo {
			lost += float64(t.lost())
			all += float64(t.tries)
		}
	}
	p := 1.0
	for i := range n {
		p *= (lost + float64(i)) / (all + float64(i))
	}
	return p
}

func (s *search) tries(size int) int {
	if t := s.sizes[size]; t != nil {
		return t.tries
	}
	return 0
}

func (s *search) of(size int) *tally {
	t := s.sizes[size]
	if t == nil {
		t = new(tally)
		s.sizes[size] = t
	}
	return t
}

// waitsOut tells the exchange that an echo may follow a claim.
func (s *search) waitsOut() bool { return s.patient }
