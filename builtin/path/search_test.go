package path

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"testing"
)

var paths = flag.Int("paths", 5_000, "how many fake paths TestSearchIsNeverWrong searches")

// fakePath is a path as a function of the size of a packet. The truth is mtu, unless
// the top is smaller.
type fakePath struct {
	mtu int
	// loss of a packet there and back; late of an echo that comes a round later.
	loss, late float64
	icmp       fakeICMP
	// claims is the part of refused packets that a router tells of.
	claims float64
	hops   []int // MTUs before the narrowest, in falling order
	// shuffles the answers of a round.
	shuffle bool
	// own is the MTU of the sender's interface if the search begins with another top, and
	// dumb that the sender does not know it.
	own  int
	dumb bool
	// bursts is how often a packet begins a row of up to burst that are lost.
	bursts float64
	burst  int
	// limit is how many packets of a round are answered, the first ones; 0 is all.
	limit int
	// then is the MTU after so many packets, a lower one; 0 when it stays.
	then, after int

	sent, losing, answered int // so far; in this round
}

type fakeICMP uint8

const (
	icmpHonest fakeICMP = iota
	icmpSilent          // a black hole
	icmpLow             // claims too little
	icmpHigh            // claims too much
	icmpRandom          // claims anything
	icmpOld             // claims 0
	icmpForger          // claims too little of any packet, also those that pass
	icmpBlind           // a black hole, and a forger who sees no packet
	icmpKinds
)

var fakeRouter = netip.MustParseAddr("192.0.2.9")

type fakeEvent struct {
	echo, unsendable, proven bool
	size, mtu                int
}

// run drives s over the path and tells how many rounds it took.
func (p *fakePath) run(s *search, r *rand.Rand) (rounds int) {
	var late []fakeEvent
	for sizes := s.next(); len(sizes) > 0; sizes = s.next() {
		rounds++
		p.answered = 0
		now := late
		late = nil
		for _, size := range sizes {
			if s.floor(size) != size {
				panic("no packet has such a size")
			}
			for _, e := range p.send(size, r) {
				if e.echo && r.Float64() < p.late {
					late = append(late, e)
				} else {
					now = append(now, e)
				}
			}
		}
		if p.shuffle {
			r.Shuffle(len(now), func(i, j int) { now[i], now[j] = now[j], now[i] })
		}
		for _, e := range now {
			switch {
			case e.echo:
				s.echo(e.size)
			case e.unsendable:
				s.unsendable(e.size, e.mtu)
			default:
				s.claim(e.size, e.mtu, fakeRouter, e.proven)
			}
		}
		s.expire()
	}
	return rounds
}

// send is what comes of one packet.
func (p *fakePath) send(size int, r *rand.Rand) (events []fakeEvent) {
	if p.own > 0 && size > p.own {
		mtu := p.own
		if p.dumb {
			mtu = 0
		}
		return []fakeEvent{{unsendable: true, size: size, mtu: mtu}}
	}
	if p.sent++; p.then > 0 && p.sent > p.after {
		p.mtu = p.then
	}
	passes := size <= p.mtu
	if p.losing > 0 || r.Float64() < p.bursts {
		if p.losing == 0 {
			p.losing = 1 + r.IntN(p.burst)
		}
		p.losing--
		return nil
	}
	if (!passes || p.icmp == icmpForger || p.icmp == icmpBlind) && r.Float64() < p.claims {
		if mtu, ok := p.claimOf(size, r); ok && (p.icmp != icmpBlind || mtu != p.mtu && mtu != p.then) {
			events = append(events, fakeEvent{size: size, mtu: mtu, proven: p.icmp != icmpBlind})
		}
	}
	if passes && r.Float64() >= p.loss && (p.limit == 0 || p.answered < p.limit) {
		p.answered++
		events = append(events, fakeEvent{echo: true, size: size})
	}
	return events
}

func (p *fakePath) claimOf(size int, r *rand.Rand) (int, bool) {
	for _, hop := range p.hops {
		if size > hop {
			return hop, p.icmp != icmpSilent
		}
	}
	switch p.icmp {
	case icmpHonest:
		return p.mtu, true
	case icmpLow:
		return p.mtu - 1 - r.IntN(200), true
	case icmpHigh:
		return p.mtu + 1 + r.IntN(200), true
	case icmpRandom:
		return r.IntN(65536) - 1, true
	case icmpOld:
		return 0, true
	case icmpForger, icmpBlind:
		return size - 1 - r.IntN(size/3), true
	}
	return 0, false
}

func randomPath(r *rand.Rand) (p fakePath, small, top int) {
	small = []int{148, 168}[r.IntN(2)]
	top = []int{1500, 1500, 1500, 1492, 9000, 9000, 65535, 1280, 2000}[r.IntN(9)]
	p.mtu = top
	switch r.IntN(4) {
	case 0:
	case 1:
		p.mtu = likely[r.IntN(len(likely))]
	case 2:
		p.mtu = small + r.IntN(top-small+1)
	case 3:
		p.mtu = top - r.IntN(min(top-small, 300))
	}
	switch r.IntN(3) {
	case 0:
	case 1:
		p.loss = 0.1 * r.Float64()
	case 2:
		p.loss = 0.3 * r.Float64()
	}
	if r.IntN(2) == 0 {
		p.late = 0.1 * r.Float64()
	}
	p.icmp = fakeICMP(r.IntN(int(icmpKinds)))
	p.claims = []float64{1, 1, 0.9, 0.3}[r.IntN(4)]
	p.shuffle = r.IntN(2) == 0
	for hop := top; r.IntN(3) == 0; {
		if hop -= 1 + r.IntN(500); hop <= p.mtu {
			break
		}
		p.hops = append(p.hops, hop)
	}
	if r.IntN(8) == 0 {
		p.own, p.dumb = small+r.IntN(top-small+1), r.IntN(2) == 0
	}
	switch r.IntN(8) {
	case 0:
		p.loss, p.bursts, p.burst = 0, 0.05*r.Float64(), 1+r.IntN(10)
	case 1:
		p.limit = 3 + r.IntN(20)
	case 2:
		p.then, p.after, p.own = small+r.IntN(p.mtu-small+1), r.IntN(60), 0
	}
	return p, small, top
}

// judge tells what is wrong with an answer about p, a copy from before the search; empty
// when nothing is. Of a path that changes, what was true at a time is right.
func (p fakePath) judge(f pmtu, top int) string {
	wrong := p.judgeThen(f, top)
	if wrong != "" && p.then > 0 {
		p.mtu = p.then
		return p.judgeThen(f, top)
	}
	return wrong
}

func (p *fakePath) judgeThen(f pmtu, top int) string {
	if p.own > 0 {
		top = min(top, p.own)
	}
	truth := min(p.mtu, top)
	switch f.kind {
	case kindExact:
		if f.mtu != truth || truth == top {
			return "wrong exact"
		}
	case kindAtLocalMax:
		if f.mtu != top || truth != top {
			return "wrong at_local_max"
		}
	case kindAtLeast:
		if f.mtu > truth {
			return "wrong at_least"
		}
	case kindUnknown:
	default:
		return "no kind"
	}
	honest := p.icmp == icmpHonest && p.claims == 1
	switch {
	case p.bursts > 0 && f.kind != kindExact: // rows of losses are all that the search has seen
	case f.blackHole == holesYes && (honest || truth == top):
		return "black hole where there is none"
	case f.blackHole == holesNo && (p.icmp == icmpSilent || p.icmp == icmpBlind) && truth < top:
		return "no black hole where there is one"
	}
	return ""
}

// Whatever a path does, an answer called exact is.
func TestSearchIsNeverWrong(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	kinds := make(map[kind]int)
	packets, most := 0, 0
	for range *paths {
		p, small, top := randomPath(r)
		s, before := newSearch(small, top), p
		p.run(s, r)
		if wrong := before.judge(s.result, top); wrong != "" {
			t.Errorf("seed %d: %s: got %+v of %+v, top %d", seed, wrong, s.result, before, top)
		}
		kinds[s.result.kind]++
		packets += s.sent
		most = max(most, s.sent)
	}
	t.Logf("%d paths: %v, %.1f packets each, at most %d", *paths, kinds, float64(packets)/float64(*paths), most)
	if most > searchBudget {
		t.Errorf("got %d packets in one search, want at most %d", most, searchBudget)
	}
}

// Without loss every path is found exactly, with few packets and rounds.
func TestSearchFindsAll(t *testing.T) {
	for _, top := range []int{1280, 1500, 9000} {
		for mtu := 148; mtu <= top; mtu++ {
			open := mtu < 148+tlvHeader // what is between cannot be tested
			for _, icmp := range []fakeICMP{icmpHonest, icmpSilent} {
				p := fakePath{mtu: mtu, icmp: icmp, claims: 1}
				s := newSearch(148, top)
				rounds := p.run(s, rand.New(rand.NewPCG(1, uint64(mtu))))
				want := pmtu{mtu: mtu, kind: kindExact, how: howICMP, blackHole: holesNo, by: fakeRouter.String()}
				packets := 25
				switch {
				case mtu == top:
					want, packets = pmtu{mtu: mtu, kind: kindAtLocalMax, how: howEcho, blackHole: holesNo}, 3
				case icmp == icmpSilent:
					want, packets = pmtu{mtu: mtu, kind: kindExact, how: howSearch, blackHole: holesYes}, 53
					if mtu > 1500 { // far from any likely size
						packets = searchBudget
					}
				}
				if open && s.result.mtu == 148 && s.result.kind == kindAtLeast {
					continue
				}
				if s.result != want || mtu >= usual && (s.sent > packets || rounds > 12) {
					t.Fatalf("top %d, mtu %d: got %+v, %d packets, %d rounds, want %+v, %d packets", top, mtu, s.result, s.sent, rounds, want, packets)
				}
			}
		}
	}
}

func TestSearchOfDeadPath(t *testing.T) {
	s := newSearch(148, 1500)
	p := fakePath{mtu: 1500, loss: 1}
	p.run(s, rand.New(rand.NewPCG(1, 1)))
	if want := (pmtu{kind: kindUnknown, blackHole: holesUnknown}); s.result != want || s.sent > 10 {
		t.Errorf("got %+v after %d packets, want %+v", s.result, s.sent, want)
	}
}

func FuzzSearch(f *testing.F) {
	f.Add(uint64(1), uint64(2), []byte{})
	f.Add(uint64(1), uint64(2), []byte{0, 1, 2, 3, 4, 5, 6})
	f.Add(uint64(1), uint64(0), []byte{16}) // a lie hides a hole on a path that changes later
	f.Fuzz(func(t *testing.T, a, b uint64, lies []byte) {
		r := rand.New(rand.NewPCG(a, b))
		p, small, top := randomPath(r)
		s, before := newSearch(small, top), p
		for _, l := range lies { // before anything was sent
			s.claim(int(l)*256, int(l)*7-3, netip.Addr{}, l%2 == 0)
		}
		p.run(s, r)
		found := s.result
		found.blackHole = holesUnknown // lies of this kind may hide a hole, or make one
		if wrong := before.judge(found, top); wrong != "" || s.sent > searchBudget {
			t.Errorf("%s: got %+v of %+v, top %d, %d packets", wrong, s.result, before, top, s.sent)
		}
	})
}
