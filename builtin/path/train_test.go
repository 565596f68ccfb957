package path

import (
	"math/rand/v2"
	"testing"
	"time"
)

// trainWay is a way with two directions, for packets of a train: fates by number.
type trainWay struct {
	lostForward, lostBackward map[int]bool
	forward, backward         func(seq int) time.Duration // nil: 1 ms
	residence                 time.Duration
	skew                      time.Duration // of the reflector's clock
	overflow                  func(seq int) uint32
	first                     uint32 // of the reflector's count
	stateless                 bool
	uncounted                 int // packets out when the first reply comes, with the cookie
	closers                   int // that are sent when asked for
}

// ride sends a train of n packets at 20 ms along the way.
func (w *trainWay) ride(t testing.TB, n int) *train {
	t.Helper()
	x := newTrain(n)
	start := time.Unix(1_700_000_000, 0)
	type event struct {
		at  time.Time
		seq int
	}
	delay := func(f func(int) time.Duration, seq int) time.Duration {
		if f == nil {
			return time.Millisecond
		}
		return f(seq)
	}
	count := w.first
	run := func(from, to int) {
		var there []event
		for seq := from; seq < to; seq++ {
			at := start.Add(time.Duration(seq) * 20 * time.Millisecond)
			if got := x.send(at); int(got) != seq {
				t.Fatalf("got number %d, want %d", got, seq)
			}
			x.stamp(uint32(seq), at.Add(10*time.Microsecond))
			if !w.lostForward[seq] {
				there = append(there, event{at.Add(10*time.Microsecond + delay(w.forward, seq)), seq})
			}
		}
		sortBy(there, func(e event) time.Time { return e.at })
		type answered struct {
			reply
			at time.Time
		}
		var back []answered
		for _, e := range there {
			r := reply{
				seq: count, askedSeq: uint32(e.seq), received: e.at.Add(w.skew), sent: e.at.Add(w.skew + w.residence),
				seen: seen{stateless: w.stateless || e.seq < w.uncounted},
			}
			if w.overflow != nil {
				r.overflow = w.overflow(e.seq)
			}
			if e.seq >= w.uncounted {
				count++
			}
			if !w.lostBackward[e.seq] {
				back = append(back, answered{r, e.at.Add(w.residence + delay(w.backward, e.seq))})
			}
		}
		sortBy(back, func(a answered) time.Time { return a.at })
		for _, a := range back {
			if !x.take(&a.reply, a.at, a.at.Add(30*time.Microsecond)) {
				t.Fatalf("reply to %d was not taken", a.askedSeq)
			}
		}
	}
	run(0, w.uncounted)
	run(w.uncounted, n)
	for i := 0; x.open() && i < w.closers; i++ {
		run(n+i, n+i+1)
	}
	return x
}

func sortBy[T any](list []T, at func(T) time.Time) {
	for i := range list {
		for j := i; j > 0 && at(list[j]).Before(at(list[j-1])); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

func numbers(list ...int) map[int]bool {
	m := map[int]bool{}
	for _, n := range list {
		m[n] = true
	}
	return m
}

func upTo(from, to int) map[int]bool {
	m := map[int]bool{}
	for n := from; n < to; n++ {
		m[n] = true
	}
	return m
}

func TestTrainLoss(t *testing.T) {
	overtake := func(seq int) time.Duration {
		if seq == 5 {
			return 50 * time.Millisecond
		}
		return time.Millisecond
	}
	jump := func(by uint32) func(int) uint32 {
		return func(seq int) uint32 {
			if seq < 10 {
				return 4_294_967_290
			}
			return 4_294_967_290 + by
		}
	}
	tests := []struct {
		name                   string
		way                    trainWay
		own                    int
		all, forward, backward string // "" forward: not split
		unknown                int
	}{
		{"nothing", trainWay{}, 0, "0/20", "0/20", "0/20", 0},
		{"there", trainWay{lostForward: numbers(3, 9)}, 0, "2/20", "2/20", "0/18", 0},
		{"back", trainWay{lostBackward: numbers(0, 9, 11)}, 0, "3/20", "0/20", "3/20", 0},
		{"both", trainWay{lostForward: numbers(0, 1), lostBackward: numbers(2, 11)}, 0, "4/20", "2/20", "2/18", 0},
		{"the last ones there", trainWay{lostForward: numbers(18, 19), closers: 3}, 0, "2/21", "2/21", "0/19", 0},
		{"the last ones back", trainWay{lostBackward: numbers(18, 19), closers: 3}, 0, "2/21", "0/21", "2/21", 0},
		{"the last ones, and a closer", trainWay{lostForward: numbers(19), lostBackward: numbers(20), closers: 3}, 0, "2/22", "1/22", "1/21", 0},
		{"the last ones, no closer", trainWay{lostForward: numbers(19)}, 0, "1/20", "0/19", "0/19", 1},
		{"all", trainWay{lostForward: upTo(0, 30), closers: 3}, 0, "20/20", "", "", 20},
		{"all but the first", trainWay{lostForward: upTo(1, 30), closers: 3}, 0, "22/23", "0/1", "0/1", 22},
		{"overtaken there", trainWay{forward: overtake}, 0, "0/20", "0/20", "0/20", 0},
		{"overtaken back", trainWay{backward: overtake}, 0, "0/20", "0/20", "0/20", 0},
		{"overtaken back at the end", trainWay{backward: func(seq int) time.Duration { return time.Duration(30-seq) * 30 * time.Millisecond }, lostForward: numbers(4)}, 0, "1/20", "1/20", "0/19", 0},
		{"overtaken and lost", trainWay{forward: overtake, lostForward: numbers(6), lostBackward: numbers(7)}, 0, "2/20", "1/20", "1/19", 0},
		{"the first without a cookie", trainWay{uncounted: 5, lostForward: numbers(1, 9), lostBackward: numbers(3, 7)}, 0, "4/20", "1/15", "1/14", 2},
		{"all but the last without", trainWay{uncounted: 19}, 0, "0/20", "0/1", "0/1", 0},
		{"the last ones after some without", trainWay{uncounted: 5, lostForward: numbers(19), closers: 3}, 0, "1/21", "1/16", "0/15", 0},
		{"no count", trainWay{stateless: true, lostForward: numbers(3)}, 0, "1/20", "", "", 1},
		{"somebody else's count", trainWay{first: 700, lostForward: numbers(3)}, 0, "1/20", "", "", 1},
		{"the reflector's overflow", trainWay{lostForward: numbers(12, 13, 14), overflow: jump(2)}, 0, "1/18", "1/18", "0/17", 0},
		{"an overflow that wraps and hit others", trainWay{lostForward: numbers(12), overflow: jump(4000)}, 0, "0/19", "0/19", "0/19", 0},
		{"dropped here", trainWay{lostBackward: numbers(4, 5)}, 1, "1/19", "0/20", "1/19", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := tt.way.ride(t, 20).lost(tt.own)
			forward, backward := "", ""
			if l.split {
				forward, backward = l.forward.String(), l.backward.String()
			}
			if l.all.String() != tt.all || forward != tt.forward || backward != tt.backward || l.unknown != tt.unknown {
				t.Errorf("got %s, %q there, %q back, %d unknown, want %s, %q, %q, %d",
					l.all, forward, backward, l.unknown, tt.all, tt.forward, tt.backward, tt.unknown)
			}
		})
	}
}

func TestTrainOrder(t *testing.T) {
	late := func(seq int) time.Duration {
		if seq == 5 {
			return 50 * time.Millisecond
		}
		return time.Millisecond
	}
	if got := (&trainWay{forward: late}).ride(t, 20).reordered; got != (reordering{forward: 1}) {
		t.Errorf("got %+v, want 1 overtaken there", got)
	}
	if got := (&trainWay{backward: late}).ride(t, 20).reordered; got != (reordering{backward: 1}) {
		t.Errorf("got %+v, want 1 overtaken back", got)
	}
}

func TestTrainRepliesTwiceAndLate(t *testing.T) {
	x := newTrain(2)
	at := time.Unix(1_700_000_000, 0)
	x.send(at)
	x.send(at)
	in := func(d time.Duration, r reply) bool { return x.take(&r, at.Add(d), at.Add(d)) }
	if in(time.Millisecond, reply{askedSeq: 2}) {
		t.Error("a reply to a packet that was never sent was taken")
	}
	in(time.Millisecond, reply{})
	in(2*time.Millisecond, reply{})
	if x.duplicates != 1 || x.answered != 1 || x.complete() {
		t.Errorf("got %d duplicates, %d answered, want 1 and 1", x.duplicates, x.answered)
	}
	in(lateAfter+time.Millisecond, reply{seq: 1, askedSeq: 1})
	if !x.complete() || x.late != 1 {
		t.Errorf("got %d late, want 1", x.late)
	}
	if l := x.lost(0); l.all.String() != "1/2" || l.forward.n != 0 || l.backward.n != 0 {
		t.Errorf("got %+v, want the late one lost, but not on the way", l)
	}
}

func TestTrainTiming(t *testing.T) {
	steps := func(seq int) time.Duration { return time.Duration(1+seq%2) * time.Millisecond }
	// A clock that is years away, and a reflector that is slow.
	x := (&trainWay{forward: steps, residence: 5 * time.Millisecond, skew: -50_000 * time.Hour}).ride(t, 20)
	got := x.timing()
	want := timing{
		samples: 20, rtt: 2500 * time.Microsecond, least: 2 * time.Millisecond, residence: 5 * time.Millisecond, hostDelay: 40 * time.Microsecond,
		forwardJitter: time.Millisecond, forwardPairs: 19, backwardPairs: 19,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// Pairs are of packets that were sent one after the other.
	x = (&trainWay{forward: steps, lostForward: numbers(3), lostBackward: numbers(10)}).ride(t, 20)
	if got := x.timing(); got.forwardPairs != 15 || got.samples != 18 || got.forwardJitter != time.Millisecond {
		t.Errorf("got %+v, want 15 pairs of 18 samples", got)
	}
}

func TestTrainTimingOfBusyHost(t *testing.T) {
	x := newTrain(3)
	at := time.Unix(1_700_000_000, 0)
	for i := range 3 {
		x.send(at)
		sent, received := at.Add(30*time.Millisecond), at.Add(32*time.Millisecond)
		x.stamp(uint32(i), sent)
		x.take(&reply{seq: uint32(i), askedSeq: uint32(i), received: at, sent: at}, received, at.Add(90*time.Millisecond))
	}
	got := x.timing()
	if got.rtt != 2*time.Millisecond || got.hostDelay != 88*time.Millisecond || got.loaded != 3 {
		t.Errorf("got %+v, want an RTT of 2ms and a host delay of 88ms, 3 self-loaded", got)
	}
}

func TestTrainTimingWhenClocksAreSet(t *testing.T) {
	x := (&trainWay{}).ride(t, 20)
	x.packets[4].received = x.packets[4].received.Add(time.Hour)    // ours, on the way
	x.packets[9].peerSent = x.packets[9].peerSent.Add(-time.Second) // the reflector's, while it had the packet
	for i := 14; i < 20; i++ {
		x.packets[i].peerReceived = x.packets[i].peerReceived.Add(time.Hour) // the reflector's, between two
		x.packets[i].peerSent = x.packets[i].peerSent.Add(time.Hour)
	}
	got := x.timing()
	if got.samples != 18 || got.rtt != 2*time.Millisecond || got.forwardJitter != 0 || got.backJitter != 0 || got.forwardPairs != 14 {
		t.Errorf("got %+v, want 18 samples without jitter", got)
	}
	if x.stamp(0, x.packets[0].userSent.Add(-time.Microsecond)) {
		t.Error("a time of sending before the packet was there was taken")
	}
}

func TestCounter(t *testing.T) {
	for _, tt := range []struct {
		seen []uint32
		want int
	}{
		{nil, 0},
		{[]uint32{7}, 0},
		{[]uint32{7, 9, 8, 9}, 2},
		{[]uint32{4_294_967_295, 3}, 4},
		{[]uint32{900, 0}, 0},
	} {
		var c counter
		for _, n := range tt.seen {
			c.see(n)
		}
		if got := c.rise(); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.seen, got, tt.want)
		}
	}
}

// FuzzTrain: whatever a reflector answers, no figure is impossible.
func FuzzTrain(f *testing.F) {
	f.Add(uint64(1), []byte{0, 0, 1, 1, 2, 2})
	f.Add(uint64(2), []byte{19, 200, 0, 0, 0, 9, 3, 3})
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		r := rand.New(rand.NewPCG(seed, 0))
		x, at := newTrain(20), time.Unix(1_700_000_000, 0)
		for range 20 {
			x.stamp(x.send(at), at.Add(time.Duration(r.Int64N(int64(time.Second)))-time.Millisecond))
		}
		for ; len(data) >= 2; data = data[2:] {
			d := func() time.Duration { return time.Duration(r.Int64N(int64(3*time.Second))) - time.Second }
			x.take(&reply{
				askedSeq: uint32(data[0]), seq: uint32(int32(int8(data[1]))), received: at.Add(d()), sent: at.Add(d()),
				seen: seen{overflow: r.Uint32N(4), limited: r.Uint32N(4), stateless: r.IntN(20) == 0},
			}, at.Add(d()), at.Add(d().Abs()))
		}
		l, m := x.lost(r.IntN(5)), x.timing()
		for _, s := range []share{l.all, l.forward, l.backward} {
			if s.n < 0 || s.n > s.of || s.of > len(x.packets) {
				t.Fatalf("got a share of %s: %+v", s, l)
			}
		}
		if l.unknown < 0 || l.unknown > len(x.packets) || m.rtt < 0 || m.least < 0 || m.least > m.rtt || m.forwardJitter < 0 || m.residence < 0 {
			t.Fatalf("got %+v, %+v", l, m)
		}
	})
}

// What the hosts took is told where it is more than 1 ms and a quarter of the RTT.
func TestDelaysOfHosts(t *testing.T) {
	const ms = time.Millisecond
	for _, m := range []timing{
		{rtt: ms, hostDelay: ms, residence: ms},
		{rtt: ms, hostDelay: ms + 1},
		{rtt: ms, residence: ms + 1},
		{rtt: 20 * ms, hostDelay: 5 * ms, residence: 5 * ms},
		{rtt: 20 * ms, hostDelay: 5*ms + 1},
	} {
		m.samples = 20
		r, limit := stampResult(losses{}, m, newTrain(20)), max(ms, m.rtt/4)
		if host, peer := metric(r, "host_delay_seconds") >= 0, metric(r, "peer_residence_seconds") >= 0; host != (m.hostDelay > limit) || peer != (m.residence > limit) {
			t.Errorf("%+v: got %v, want delays above %s told", m, r.Metrics, limit)
		}
	}
}
