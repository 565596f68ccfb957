package path

import (
	"maps"
	"net/netip"
	"slices"
)

// kind is how much is known of an MTU.
type kind string

const (
	kindUnknown    kind = "unknown"
	kindAtLeast    kind = "at_least"     // that much passes, more was not to be tested
	kindAtLocalMax kind = "at_local_max" // all that the interface here takes passes; back, that both ends' take
	kindExact      kind = "exact"        // that much passes, one byte more does not
)

// How an MTU is known.
const (
	howEcho        = "echo"         // a packet of that size came through
	howICMP        = "icmp+echo"    // a router said so, and packets agree
	howSearch      = "search"       // packets of many sizes
	howTCPSegments = "tcp-segments" // segments of many sizes
	howMSSClamp    = "mss-clamp"    // somebody on the way limits the segments of TCP
)

// holes is whether large packets vanish without a word.
type holes string

const (
	holesUnknown holes = "unknown"
	holesNo      holes = "no"
	holesYes     holes = "yes"
)

// pmtu is what is known of one direction of a path.
type pmtu struct {
	// mtu in bytes of the whole IP packet; 0 when nothing came through.
	mtu       int
	kind      kind
	how       string
	blackHole holes
	// by is the router that said so, or the pair of hops around a hole; may be empty.
	by string
}

const (
	// searchBudget is the most packets of one search in one direction.
	searchBudget = 100
	// maxVoids is how many rounds in a row may stay without any answer.
	maxVoids = 3
	// parts of what is left in a round, when no likely size is in it: more of them save
	// few rounds, for many packets.
	parts = 6
	// usual is what hardly any path takes less than: all hosts of IPv4 must.
	usual = 576
	// common is what nearly any path takes: all of IPv6 must.
	common = 1280
	// confirmBatch is the most packets of the size that must fail in one round. They
	// are sent at once, and a queue that overflows drops neighbours together.
	confirmBatch = 6
	// doubt is the largest probability that a size was only unlucky all times, for
	// the one below it to be called exact.
	doubt = 1e-8
	// Before a search has seen any packet, it takes loss to be that of a Beta(1, 8)
	// distribution: 11 % on average.
	priorLost, priorPassed = 1, 8
	// maxCandidates of routers' claims that are tried: as many as a path has steps
	// down, not as many as a liar has ideas.
	maxCandidates = 6
	// maxHearsay bounds the claims of those who may not have seen any packet: there must
	// be room for others.
	maxHearsay = 16
)

// likely sizes: what tunnels, providers and tags leave of 1500, 4352 (FDDI), 4470 (SONET)
// and jumbo frames. 1280 is the least of IPv6, 576 and 296 old ones of IPv4.
var likely = []int{
	296, 576, 1280, 1300, 1340, 1358, 1380, 1400, 1420, 1440, 1450, 1460, 1472, 1480, 1492, 1500,
	4352, 4470, 8000, 8900, 9000,
}

// search finds the MTU of one direction of a path. It is a pure state: it has no
// clock and sends nothing. Its driver sends the sizes that next gives, tells it of
// echoes and ICMP claims as they come, and ends the round with expire when it is
// settled or the time is over. It relies on nothing but that what passes once is
// not too large; echoes may come late, and claims may lie.
type search struct {
	// small is the size of packets that only ask whether anything passes; top is
	// the largest that the sender's interface takes.
	small, top int
	// guessed: top is not known to be that.
	guessed bool

	sizes  map[int]*tally
	lo     int // the largest size that came through
	budget int
	sent   int // packets so far

	// of the round under way
	round []int
	heard bool
	// patient: the driver waits out the time although every packet was claimed by a
	// router, because an echo may follow a lie.
	patient bool
	passing int // what a confirm round takes to pass; 0 in other rounds
	voids   int // rounds in a row in which nothing came back

	claims     []claim
	candidate  int // claimed MTU to be tried next; 0 is none
	attempts   int // at it
	candidates int // so far
	hearsay    int // claims that are not proven, so far

	lossy    bool // a packet that could pass was lost
	loMissed int  // confirm rounds in a row in which passing failed
	restarts int
	done     bool
	result   pmtu
}

// tally is what happened to packets of one size, in rounds in which any came back.
type tally struct{ tries, echoes int }

func (t *tally) lost() int { return max(t.tries-t.echoes, 0) }

// claim is that a router refused a packet.
type claim struct {
	size, mtu int
	router    netip.Addr
	proven    bool // that it has seen the packet
}

func newSearch(small, top int) *search {
	s := &search{small: small, sizes: make(map[int]*tally), budget: searchBudget}
	s.limit(top)
	return s
}

// limit sets the top. Sizes that no packet can have end a search early, and open.
func (s *search) limit(top int) {
	s.top = s.floor(top)
	s.guessed = s.guessed || s.top != top
}

// floor is the largest size that a packet can have and that is not above size: see seal.
func (s *search) floor(size int) int {
	if size > s.small && size < s.small+tlvHeader {
		return s.small
	}
	return size
}

// above is the next size that a packet can have.
func (s *search) above(size int) int {
	if size >= s.small {
		return max(size+1, s.small+tlvHeader)
	}
	return size + 1
}

// next is the sizes of the packets to send in this round, in their order; none when
// the search is over.
func (s *search) next() []int {
	if s.done {
		return nil
	}
	s.patient, s.passing = false, 0
	sizes := s.plan()
	if len(sizes) > s.budget {
		s.conclude()
		sizes = nil
	}
	s.budget -= len(sizes)
	s.sent += len(sizes)
	s.round, s.heard = sizes, false
	return sizes
}

// plan chooses the sizes of a round; none and done when there is nothing to ask.
func (s *search) plan() []int {
	hi := s.hi()
	switch {
	case s.lo >= s.top:
		s.conclude()
		return nil
	case s.tries(s.top) == 0:
		return s.first()
	case s.claimed(hi):
		return s.tryClaim()
	case hi > 0 && hi <= s.above(s.lo):
		return s.confirm(hi)
	case s.tries(hi) == 1 && s.lossy:
		// Before many are spent on what may be bad luck.
		return []int{hi, hi, hi, s.small, s.small}
	default:
		return s.split(hi)
	}
}

// claimed tells whether there is a claim to be tried.
func (s *search) claimed(hi int) bool {
	m := s.candidate
	if m > s.lo {
		return m < hi || s.tries(hi) < 2
	}
	return m > 0 && m == s.lo && s.above(m) < hi
}

// tryClaim tries what a router claims, and a byte more.
func (s *search) tryClaim() []int {
	m := s.candidate
	if s.attempts++; s.attempts == 2 {
		s.candidate = 0 // this is its last chance
	}
	return []int{s.above(m), s.floor(m), s.small}
}

// first tries the top: with the hello before it, all that a path takes on which nothing
// is wrong. A path that takes less than common does not have to fail at all the likely
// sizes above that.
func (s *search) first() []int {
	sizes := []int{s.top}
	if s.voids == 0 && s.lo < common && common < s.top {
		sizes = append(sizes, common)
	}
	return append(sizes, slices.Repeat([]int{s.small}, 1+s.voids)...)
}

// split tries many sizes between what passes and what does not: the likely ones, if
// any is there, else evenly spaced. The largest go first: where a queue overflows it
// loses the small ones, which do not count once a larger one came through.
func (s *search) split(hi int) []int {
	var sizes []int
	for _, size := range likely {
		if size > s.lo && size < hi && size >= s.least() {
			sizes = append(sizes, size)
		}
	}
	if len(sizes) == 0 {
		n := min(parts, hi-s.lo)
		for i := 1; i < n; i++ {
			sizes = append(sizes, max(s.lo+(hi-s.lo)*i/n, s.above(s.lo)))
		}
		sizes[0] = s.above(s.lo) // the likely size that passed is the likely answer
		sizes = slices.Compact(sizes)
	}
	slices.Reverse(sizes)
	if s.lossy || s.voids > 0 {
		sizes = append(sizes, s.small) // all depends on it, if the others fail
	}
	return append(sizes, s.small)
}

// least is the smallest likely size to be tried now.
func (s *search) least() int {
	if s.tries(usual) > 0 {
		return 0
	}
	return usual
}

// confirm repeats the size that fails and the one below it that passes, until bad
// luck is out of the question.
func (s *search) confirm(hi int) []int {
	if s.unlucky(s.tries(hi), 0) <= doubt && s.loMissed == 0 {
		s.conclude()
		return nil
	}
	const good = 4 // packets that should pass: they tell the loss
	more := 1
	for more < confirmBatch && s.unlucky(s.tries(hi)+more, good) > doubt {
		more++
	}
	s.patient, s.passing = true, s.lo
	// In turn, for losses come in rows: one that takes all of hi takes some of lo, too.
	var sizes []int
	for i := range max(more, 3) {
		if i < more {
			sizes = append(sizes, hi)
		}
		if i < 3 {
			sizes = append(sizes, s.lo)
		}
	}
	return append(sizes, s.small)
}

// echo tells that a packet of that size came through, of this round or an earlier one.
func (s *search) echo(size int) {
	s.heard = true
	s.of(size).echoes++
	s.lo = max(s.lo, min(size, s.top))
	if size >= s.passing {
		s.passing = 0
	}
}

// claim tells that a router refused a packet of that size, and the MTU that it gave,
// or 0. Anybody may say so without proof.
func (s *search) claim(size, mtu int, router netip.Addr, proven bool) {
	if mtu >= size || mtu < 0 || len(s.claims) >= searchBudget || !proven && s.hearsay >= maxHearsay {
		return
	}
	if !proven {
		s.hearsay++
	}
	s.claims = append(s.claims, claim{size, mtu, router, proven})
	if mtu >= s.lo && mtu >= s.small && s.candidate != mtu && s.candidates < maxCandidates {
		s.candidate, s.attempts = mtu, 0
		s.candidates++
	}
}

// unsendable tells that the host that was to send a packet of that size cannot, and the
// MTU of its interface; 0 is not known. What is larger has never been on the way.
func (s *search) unsendable(size, mtu int) {
	if size > s.top || size <= s.small {
		return
	}
	s.guessed = mtu < s.small || mtu >= size
	if s.guessed {
		mtu = s.small
		for _, l := range likely {
			if l < size {
				mtu = max(mtu, l)
			}
		}
	}
	s.limit(mtu)
	mtu = s.top
	maps.DeleteFunc(s.sizes, func(size int, _ *tally) bool { return size > mtu })
	var round []int
	for _, size := range s.round {
		if size <= mtu {
			round = append(round, size)
		}
	}
	s.round = round
	s.claims = slices.DeleteFunc(s.claims, func(c claim) bool { return c.size > mtu })
	if s.candidate >= mtu {
		s.candidate = 0
	}
	s.lo, s.passing = min(s.lo, mtu), min(s.passing, mtu)
}

// settled tells that the largest size came through: no other answer matters.
func (s *search) settled() bool { return s.lo >= s.top }

// excuse tells that the round under way says nothing of what did not come through.
func (s *search) excuse() { s.heard = false }

// expire ends the round: what has not come through by now has failed, if anything
// has come through.
func (s *search) expire() {
	if !s.heard {
		if s.voids++; s.voids >= maxVoids {
			s.conclude()
		}
		return
	}
	s.voids = 0
	for _, size := range s.round {
		s.of(size).tries++
	}
	s.lossy = false
	for size, t := range s.sizes {
		s.lossy = s.lossy || size <= s.lo && t.lost() > 0
	}
	if s.patient {
		s.checkPassing()
	}
}

// checkPassing looks whether in the confirm round that has ended anything passed but
// small packets. If not twice, the path has changed under the search.
func (s *search) checkPassing() {
	if s.passing == 0 {
		s.loMissed = 0
		return
	}
	if s.loMissed++; s.loMissed < 2 {
		return
	}
	s.loMissed = 0
	if s.restarts++; s.restarts > 1 {
		s.done, s.result = true, pmtu{kind: kindUnknown, blackHole: holesUnknown}
		return
	}
	s.sizes, s.lo, s.claims, s.candidate = make(map[int]*tally), 0, nil, 0
}
