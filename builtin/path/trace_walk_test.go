package path

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeWay answers probes as a way does: what it sends back comes after rtt.
type fakeWay struct {
	hops   int                                   // the end is so far
	silent map[int]bool                          // hops that never answer
	lose   func(ttl, asked int) bool             // packets that get lost
	node   func(ttl, seq int) netip.Addr         // nil: one address a hop
	refuse int                                   // the hop that lets nothing pass; 0: none
	rtt    func(ttl int) time.Duration           // nil: a millisecond a hop
	quote  bool                                  // answers of routers do not tell the probe
	limit  func(ttl int, now time.Duration) bool // answers that are held back
	asked  map[int]int
}

type pending struct {
	at time.Duration
	a  answer
}

func hopAddr(ttl int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(ttl), 1}) }

func (w *fakeWay) probe(seq, ttl int, now time.Duration) (p pending, ok bool) {
	if w.asked == nil {
		w.asked = map[int]int{}
	}
	w.asked[ttl]++
	p.a = answer{seq: seq, kind: answerPassed}
	at := min(ttl, w.hops)
	if w.refuse > 0 && ttl >= w.refuse {
		at, p.a.kind = w.refuse, answerRefused
	} else if ttl >= w.hops {
		p.a.kind = answerReached
	}
	if w.silent[at] && (p.a.kind != answerReached || at == ttl) || w.lose != nil && w.lose(ttl, w.asked[ttl]) ||
		w.limit != nil && w.limit(at, now) {
		return p, false
	}
	p.a.from = hopAddr(at)
	if w.node != nil {
		p.a.from = w.node(at, seq)
	}
	if w.quote && p.a.kind == answerPassed {
		p.a.seq = unknownProbe
	}
	p.at = now + time.Duration(at)*time.Millisecond
	if w.rtt != nil {
		p.at = now + w.rtt(at)
	}
	return p, true
}

// run walks the way and tells how long that took and how many probes.
func (w *fakeWay) run(t testing.TB, o walkOptions) (walk *hopWalk, took time.Duration) {
	t.Helper()
	walk = newHopWalk(o)
	var (
		now   time.Duration
		queue []pending
	)
	for range 10_000 {
		for {
			seq, ttl, ok := walk.next(now)
			if !ok {
				break
			}
			if o.serial && walk.inFlight > 1 {
				t.Fatalf("got %d probes in flight, want 1", walk.inFlight)
			}
			if o.hello { // as TCP: the socket of the probe before is closed
				queue = queue[:0]
			}
			if p, ok := w.probe(seq, ttl, now); ok {
				queue = append(queue, p)
			}
		}
		at, done := walk.wake(now)
		if done {
			return walk, now
		}
		slices.SortStableFunc(queue, func(a, b pending) int { return int(a.at - b.at) })
		if len(queue) > 0 && queue[0].at <= at {
			now = max(now, queue[0].at)
			walk.answer(queue[0].a, now)
			queue = queue[1:]
			continue
		}
		now = max(at, now+1)
	}
	t.Fatal("the walk does not end")
	return nil, 0
}

// trail is "10.0.1.1 * 10.0.3.1": the hops found.
func trail(w *hopWalk) string {
	var list []string
	for _, h := range w.found() {
		text := "*"
		for i, s := range h.seen {
			if i == 0 {
				text = ""
			} else {
				text += "|"
			}
			text += strings.TrimSuffix(strings.TrimPrefix(s.addr.String(), "10.0."), ".1")
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

func silentHops(list ...int) map[int]bool {
	m := map[int]bool{}
	for _, ttl := range list {
		m[ttl] = true
	}
	return m
}

func TestWalk(t *testing.T) {
	udp := walkOptions{endProbes: walkProbes}
	tcp := walkOptions{serial: true, hello: true, endProbes: 1}
	closed := walkOptions{endProbes: walkProbes, again: closedPortAgain}
	tests := []struct {
		name   string
		way    fakeWay
		o      walkOptions
		want   string
		end    int
		most   time.Duration
		probes int // at most
	}{
		{"clean", fakeWay{hops: 4}, udp, "1 2 3 4", 4, 12 * time.Millisecond, 14},
		{"clean by TCP", fakeWay{hops: 4}, tcp, "1 2 3 4", 4, 30 * time.Millisecond, 11},
		{"next door", fakeWay{hops: 1}, udp, "1", 1, 4 * time.Millisecond, 6},
		{"long", fakeWay{hops: 20}, udp, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20", 20, 250 * time.Millisecond, 63},
		{"a silent hop", fakeWay{hops: 5, silent: silentHops(2)}, udp, "1 * 3 4 5", 5, 930 * time.Millisecond, 20},
		{"no router answers", fakeWay{hops: 4, silent: silentHops(1, 2, 3)}, udp, "* * * 4", 4, 1300 * time.Millisecond, 15},
		{"no router answers, TCP", fakeWay{hops: 4, silent: silentHops(1, 2, 3)}, tcp, "* * * 4", 4, 2800 * time.Millisecond, 12},
		{"the last hop silent", fakeWay{hops: 4, silent: silentHops(3)}, udp, "1 2 * 4", 4, 1300 * time.Millisecond, 15},
		{"nothing answers", fakeWay{hops: 4, lose: func(int, int) bool { return true }}, udp, "", 0, 1300 * time.Millisecond, 16},
		{"nothing behind hop 3", fakeWay{hops: 6, lose: func(ttl, _ int) bool { return ttl > 3 }}, udp, "1 2 3", 0, 1300 * time.Millisecond, 25},
		{"refused on the way", fakeWay{hops: 6, refuse: 3}, udp, "1 2", 3, 20 * time.Millisecond, 12},
		{"refused, TCP", fakeWay{hops: 6, refuse: 3}, tcp, "1 2", 3, 30 * time.Millisecond, 12},
		{"a satellite", fakeWay{hops: 4, rtt: func(ttl int) time.Duration { return time.Duration(ttl) * 150 * time.Millisecond }}, udp, "1 2 3 4", 4, 3 * time.Second, 16},
		{"a satellite, TCP", fakeWay{hops: 4, rtt: func(ttl int) time.Duration { return time.Duration(ttl) * 150 * time.Millisecond }}, tcp, "1 2 3 4", 4, 5 * time.Second, 16},
		{"routers that quote too little", fakeWay{hops: 4, quote: true}, udp, "1 2 3 4", 4, 2 * time.Second, 20},
		{"the end's first answer lost", fakeWay{hops: 4, lose: func(ttl, asked int) bool { return ttl == 4 && asked <= 2 }}, udp, "1 2 3 4", 4, time.Second, 16},
		{
			// Four hops ask a closed port at once; its ICMP is limited to one a second:
			// TTL 5 gets the one answer, and the end seems a hop too far.
			"an end that answers once a second",
			fakeWay{hops: 4, lose: func(ttl, asked int) bool { return ttl == 4 && asked <= 3 }},
			closed, "1 2 3 4", 4, 4 * time.Second, 24,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, took := tt.way.run(t, tt.o)
			if got := trail(w); got != tt.want || w.end != tt.end {
				t.Errorf("got %q, end %d, want %q, end %d", got, w.end, tt.want, tt.end)
			}
			if took > tt.most || len(w.sent) > tt.probes {
				t.Errorf("took %v and %d probes, want at most %v and %d", took, len(w.sent), tt.most, tt.probes)
			}
		})
	}
}

func TestWalkKeepsToBudget(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := &icmpBudget{now: func() time.Time { return now }}
	way := fakeWay{hops: 5}
	o := walkOptions{endProbes: walkProbes, mayAsk: b.take}
	way.run(t, o)
	way.run(t, o)
	for ttl := 1; ttl <= sharedHops; ttl++ {
		// 3 probes, the last two of them by the budget, twice; then 2 of 6 are left.
		if got := way.asked[ttl]; got != 6 {
			t.Fatalf("got %d probes of hop %d, want 6", got, ttl)
		}
	}
	for range 3 {
		w, _ := way.run(t, o)
		if got := trail(w); got != "1 2 3 4 5" {
			t.Errorf("got %q, want all hops", got)
		}
	}
	// 2 more by the budget, and one a walk that needs none.
	if got := way.asked[1]; got != 6+2+3 {
		t.Errorf("got %d probes of hop 1, want 11", got)
	}
	now = now.Add(time.Minute)
	way.run(t, o)
	if got := way.asked[1]; got != 6+2+3+3 {
		t.Errorf("got %d probes of hop 1, want 14", got)
	}
}

// TestWalkAnyWay: whatever is silent or lost, a walk ends, and never shows a hop
// where another is, nor an end that is too near.
func TestWalkAnyWay(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		way := fakeWay{hops: 1 + r.IntN(25), silent: map[int]bool{}, quote: r.IntN(8) == 0}
		for ttl := 1; ttl < way.hops; ttl++ {
			way.silent[ttl] = r.IntN(4) == 0
		}
		loss := r.IntN(3) * 100
		way.lose = func(int, int) bool { return r.IntN(1000) < loss }
		o := walkOptions{endProbes: 1 + r.IntN(3), serial: r.IntN(2) == 0, hello: r.IntN(2) == 0}
		w, took := way.run(t, o)
		if w.end > 0 && w.end < way.hops {
			t.Fatalf("seed %d: got the end at %d, want %d or more", seed, w.end, way.hops)
		}
		for i, h := range w.found() {
			for _, s := range h.seen {
				if want := hopAddr(min(i+1, way.hops)); s.addr != want {
					t.Fatalf("seed %d: got %s at hop %d, want %s", seed, s.addr, i+1, want)
				}
			}
		}
		if took > 60*time.Second {
			t.Fatalf("seed %d: took %v", seed, took)
		}
	}
}

func TestWalkIgnoresStrangers(t *testing.T) {
	w := newHopWalk(walkOptions{endProbes: 1})
	seq, _, _ := w.next(0)
	for _, a := range []answer{{seq: 99}, {seq: -7}, {seq: 4000}} {
		if w.answer(a, 1) {
			t.Errorf("answer to probe %d was taken", a.seq)
		}
	}
	if !w.answer(answer{seq: seq, from: hopAddr(1)}, 1) || w.answer(answer{seq: seq, from: hopAddr(2)}, 2) {
		t.Error("got an answer twice, or not at all")
	}
	if got := trail(w); got != "1" {
		t.Errorf("got %q, want hop 1 alone", got)
	}
}
