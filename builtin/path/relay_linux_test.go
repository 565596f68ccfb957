package path

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// relay is a path without ICMP: it passes on packets between probers and a reflector
// that are not too large for their direction.
type relay struct {
	forward, back atomic.Int64 // MTUs
	loss          atomic.Int64 // percent, each way
	asked         atomic.Int64 // packets of the prober
	forges        atomic.Bool  // packets that are not the reflector's come with its replies

	front *net.UDPConn
	to    netip.AddrPort
	wg    sync.WaitGroup
	mu    sync.Mutex // guards below
	ways  map[netip.AddrPort]*net.UDPConn
}

func newRelay(t testing.TB, to uint16, forward, back int) *relay {
	t.Helper()
	front, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{front: front, to: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to), ways: make(map[netip.AddrPort]*net.UDPConn)}
	r.forward.Store(int64(forward))
	r.back.Store(int64(back))
	r.wg.Go(r.serve)
	t.Cleanup(func() {
		r.front.Close()
		r.mu.Lock()
		for _, c := range r.ways {
			c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *relay) port() uint16 { return r.front.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

func (r *relay) passes(n int, mtu *atomic.Int64) bool {
	return int64(n+overhead4) <= mtu.Load() && rand.Int64N(100) >= r.loss.Load()
}

func (r *relay) serve() {
	buf := make([]byte, maxPayload)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		r.asked.Add(1)
		r.mu.Lock()
		way := r.ways[from]
		if way == nil {
			if way, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(r.to)); err != nil {
				r.mu.Unlock()
				return
			}
			r.ways[from] = way
			r.wg.Go(func() { r.answers(way, from) })
		}
		r.mu.Unlock()
		if r.passes(n, &r.forward) {
			_, _ = way.Write(buf[:n])
		}
	}
}

func (r *relay) answers(way *net.UDPConn, to netip.AddrPort) {
	buf := make([]byte, maxPayload)
	for {
		n, err := way.Read(buf)
		if err != nil {
			return
		}
		if r.forges.Load() {
			for _, b := range forgeries(buf[:n]) {
				_, _ = r.front.WriteToUDPAddrPort(b, to)
			}
		}
		if r.passes(n, &r.back) {
			_, _ = r.front.WriteToUDPAddrPort(buf[:n], to)
			if r.forges.Load() {
				_, _ = r.front.WriteToUDPAddrPort(buf[:n], to)
			}
		}
	}
}

// forgeries of a reply: cut, longer, changed, and of somebody who has not the key.
func forgeries(b []byte) [][]byte {
	changed := slices.Clone(b)
	changed[24+3] ^= 1 // the number of the request
	r, err := parseReply(b, testKey)
	if err != nil {
		return nil
	}
	r.size, r.tooBig = 1500-overhead4, true
	r.reports = []report{{mtu: 600, seq: r.askedSeq, quotes: true}}
	stranger := r.appendTo(nil, testSecret)
	return [][]byte{{}, b[:len(b)/2], append(slices.Clone(b), 0), changed, stranger, make([]byte, 9000)}
}

// overRelay is a prober and a reflector on interfaces of 1500 bytes with a relay
// between them.
func overRelay(t testing.TB, forward, back int) (*pmtuProber, *relay) {
	t.Helper()
	r := startTestReflector(t)
	way := newRelay(t, r.port(), forward, back)
	p := newTestPMTU(t, r)
	for _, nics := range []*interfaces{p.nics, r.mtus} {
		freeze(nics)
	}
	p.c.TCP = false
	p.reflector = func(sdk.Target) (reflectorAt, bool) { return reflectorAt{way.port(), testKey}, true }
	return p, way
}

// freeze lets the loopback interface seem to have an MTU of 1500 bytes.
func freeze(nics *interfaces) {
	nics.mu.Lock()
	defer nics.mu.Unlock()
	nics.read, nics.byIndex = time.Now().Add(time.Hour), map[int]string{1: "lo"}
	nics.byAddr = map[netip.Addr]string{netip.MustParseAddr("127.0.0.1"): "lo"}
	nics.mtuNow = func(string) int { return 1500 }
}

func found(r sdk.Result, kind string, instant bool) bool {
	return slices.ContainsFunc(r.Findings, func(f sdk.Finding) bool { return f.Kind == kind && f.Instant == instant })
}

// told is what a result says of both directions.
func told(r sdk.Result) (forward, back pmtu) {
	of := func(way string) pmtu {
		a := r.Attributes
		p := pmtu{
			kind: kind(a["pmtu_"+way+"_kind"]), how: a["pmtu_"+way+"_how"],
			blackHole: holes(a["pmtu_"+way+"_black_hole"]),
		}
		p.mtu = int(metric(r, p.metric(way)))
		return p
	}
	return of("forward"), of("backward")
}

func hole(mtu int) pmtu {
	return pmtu{mtu: mtu, kind: kindExact, how: howSearch, blackHole: holesYes}
}

func TestPMTUOfHoles(t *testing.T) {
	whole := pmtu{mtu: 1500, kind: kindAtLocalMax, how: howEcho, blackHole: holesNo}
	for _, c := range []struct {
		name          string
		forward, back int
		want, wantB   pmtu
	}{
		{"none", 1500, 1500, whole, whole},
		{"there", 1437, 9000, hole(1437), whole},
		{"back", 1500, 1291, whole, hole(1291)},
		{"both", 1400, 600, hole(1400), hole(600)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, _ := overRelay(t, c.forward, c.back)
			got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1"})
			if err != nil {
				t.Fatal(err)
			}
			if f, b := told(got); f != c.want || b != c.wantB {
				t.Errorf("got %+v and %+v, want %+v and %+v", f, b, c.want, c.wantB)
			}
			for way, want := range map[string]pmtu{"forward": c.want, "backward": c.wantB} {
				if n := metric(got, "pmtu_"+way+"_black_holes_count"); (n == 1) != (want.blackHole == holesYes) {
					t.Errorf("got %v black holes %s of %+v", n, way, want)
				}
			}
			if by := got.Attributes["pmtu_forward_by"]; (by == "this host and 127.0.0.1") != (c.want.blackHole == holesYes) {
				t.Errorf("got a hole between %q", by)
			}
		})
	}
}

// What others send instead of the reflector and of routers changes nothing.
func TestPMTUIgnoresForgeries(t *testing.T) {
	p, way := overRelay(t, 1400, 1291)
	way.forges.Store(true)
	got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if f, b := told(got); f != hole(1400) || b != hole(1291) {
		t.Errorf("got %+v and %+v", f, b)
	}

	x, err := newExchange(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), way.port()), 0, 7, testKey, testCaller)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	s := newSearch(x.small(), 1500)
	x.forward, x.back = s, s
	if err := x.send(&shot{forward: 1400}); err != nil {
		t.Fatal(err)
	}
	quote := func(r request) []byte { return r.appendTo(nil, testKey) }
	router := netip.MustParseAddr("192.0.2.1")
	for _, what := range []icmpKind{icmpTooBig, icmpTimeExceeded, icmpPort, icmpProhibited, icmpUnreachable, icmpOther} {
		for name, payload := range map[string][]byte{
			"another session": quote(request{ssid: 8, caller: testCaller}),
			"not sent yet":    quote(request{ssid: 7, seq: 9, caller: testCaller}),
			"another packet":  make([]byte, 500),
			"another time":    quote(request{ssid: 7, caller: testCaller, sent: x.shots[0].user.Add(time.Microsecond)}),
			"nothing":         nil,
		} {
			x.takeError(arrival{kind: arrivalError, payload: payload, icmp: icmpError{router: router, what: what, mtu: 600}})
			// Who quotes nothing gives a size to try, and that is all.
			s.claims = slices.DeleteFunc(s.claims, func(c claim) bool { return !c.proven && name == "nothing" })
			if len(s.claims) != 0 || x.shots[0].claimed || x.refused.what != icmpOther || x.shots[0].hop.IsValid() {
				t.Errorf("%v about %s: got %v, %v, %v", what, name, s.claims, x.refused, x.shots[0].hop)
			}
		}
	}
}

// The way is lowered under a belief, and raised again.
func TestPMTUFollowsThePath(t *testing.T) {
	p, way := overRelay(t, 1500, 1500)
	target := sdk.Target{Host: "127.0.0.1"}
	probe := func() sdk.Result {
		t.Helper()
		got, err := p.Probe(context.Background(), target)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	probe()
	packets := int64(0)
	for range 10 { // a busy machine repeats a packet, but not each time
		before := way.asked.Load()
		if got := probe(); len(got.Metrics) != 2 || got.RTT != 0 || metric(got, "pmtu_forward_bytes") != 1500 || metric(got, "pmtu_backward_bytes") != 1500 {
			t.Errorf("got RTT %v, %v of a run that verified, want the MTU of both ways alone", got.RTT, got.Metrics)
		}
		if packets = way.asked.Load() - before; packets <= 3 {
			break
		}
	}
	if packets != 3 {
		t.Errorf("got %d packets to verify, want 3", packets)
	}
	way.forward.Store(1400)
	got := probe()
	if f, _ := told(got); f != hole(1400) || !found(got, conditionChanged, true) || !found(got, conditionBlackHole, false) {
		t.Errorf("got %+v, want %+v and the change told", got, hole(1400))
	}
	way.forward.Store(1450) // behind a hole a byte more is tried with every run
	if got := probe(); metric(got, "pmtu_forward_bytes") != 1450 || got.Hint == "" {
		t.Errorf("got %+v, want what passes now, as a hint for others", got)
	}
	for _, b := range p.beliefs { // as if routers had told of it
		b.forward.blackHole = holesNo
		b.limit.SetLimit(rate.Inf)
	}
	way.forward.Store(1480)
	if f, _ := told(probe()); f.mtu != 1450 {
		t.Errorf("got %+v before larger packets are due", f)
	}
	target.Occasion = sdk.OccasionHint
	if f, _ := told(probe()); f != hole(1480) {
		t.Errorf("got %+v at a hint, want %+v", f, hole(1480))
	}
	target.Occasion = ""
	way.forward.Store(1490)
	for _, b := range p.beliefs {
		b.forward.blackHole, b.toppedAt = holesNo, time.Time{}
	}
	if f, _ := told(probe()); f != hole(1490) {
		t.Errorf("got %+v when larger packets are due, want %+v", f, hole(1490))
	}
	way.forward.Store(1470)
	way.back.Store(1390)
	got = probe()
	if f := got.Findings; len(f) != 2 || !strings.Contains(f[0].Message, "above 1470 bytes") || !strings.Contains(f[0].Message, "above 1390 bytes") ||
		f[1].Message != "forward MTU was 1490, is 1470; backward MTU was 1500, is 1390" {
		t.Errorf("got %+v, want one word of both ways", f)
	}
	// Too many searches in a minute: the old answer is not given for a new one.
	for _, b := range p.beliefs {
		b.limit.SetLimit(0)
		b.limit.SetBurst(0)
	}
	way.forward.Store(1300)
	got = probe()
	if f, _ := told(got); f.kind != kindUnknown || got.Attributes["pmtu_search"] != "postponed" {
		t.Errorf("got %+v, want an unknown MTU", got)
	}
}

// An outage between two MTUs hides no change, nor does a run by hand.
func TestPMTUTellsChangesAcrossOutages(t *testing.T) {
	p, way := overRelay(t, 1500, 1500)
	probe := func(fresh bool) (sdk.Result, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		return p.Probe(ctx, sdk.Target{Host: "127.0.0.1", Fresh: fresh})
	}
	if got, err := probe(false); err != nil || got.Hint != "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	way.loss.Store(100)
	if _, err := probe(false); err == nil {
		t.Fatal("got an answer over a dead path")
	}
	way.loss.Store(0)
	way.forward.Store(1400)
	if got, err := probe(false); err != nil || got.Hint != "forward MTU was 1500, is 1400" {
		t.Errorf("got %q, %v after the outage", got.Hint, err)
	}
	way.forward.Store(1300)
	if got, err := probe(true); err != nil || got.Hint != "forward MTU was 1400, is 1300" {
		t.Errorf("got %q, %v by hand", got.Hint, err)
	}
}

// What is known not to hold is not told, and not believed later.
func TestPMTUPostponesWhatPassesMore(t *testing.T) {
	p, way := overRelay(t, 1400, 1500)
	probe := func() (sdk.Result, pmtu) {
		t.Helper()
		got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		f, _ := told(got)
		return got, f
	}
	probe()
	for _, b := range p.beliefs {
		b.limit.SetLimit(0)
		b.limit.SetBurst(0)
	}
	way.forward.Store(1450)
	for range 2 {
		got, f := probe()
		if f.kind != kindUnknown || got.Attributes["pmtu_search"] != "postponed" || found(got, conditionBlackHole, false) {
			t.Errorf("got %+v", got)
		}
	}
	for _, b := range p.beliefs {
		b.limit.SetLimit(rate.Inf)
	}
	if _, f := probe(); f != hole(1450) {
		t.Errorf("got %+v when a search is allowed, want %+v", f, hole(1450))
	}
}

// A direction that bad luck left open is asked for again, before larger packets are due.
func TestPMTUAsksAgainForWhatIsOpen(t *testing.T) {
	p, _ := overRelay(t, 1400, 1300)
	target := sdk.Target{Host: "127.0.0.1"}
	for _, open := range []pmtu{{kind: kindUnknown, blackHole: holesUnknown}, {mtu: 1280, kind: kindAtLeast, blackHole: holesUnknown}} {
		if _, err := p.Probe(context.Background(), target); err != nil {
			t.Fatal(err)
		}
		for _, b := range p.beliefs {
			b.back, b.unsure = open, 1
		}
		for _, ago := range []time.Duration{0, searchEvery} {
			for _, b := range p.beliefs {
				b.toppedAt = time.Now().Add(-ago)
			}
			got, err := p.Probe(context.Background(), target)
			if _, b := told(got); err != nil || (b == hole(1300)) != (ago > 0) {
				t.Errorf("%+v, %v later: got %+v, %v", open, ago, b, err)
			}
		}
	}
}

// A hole that TCP finds again has no hops, until UDP passes again.
func TestPMTULocatesAfterTCP(t *testing.T) {
	p, _ := overRelay(t, 1400, 1500)
	p.locate = func(context.Context, *exchange, int) (string, bool) { return "a and b", true }
	for _, after := range []func(*belief){
		func(*belief) {},
		func(b *belief) { b.known, b.last.forward.by, b.located.at = false, "", time.Time{} },
	} {
		for _, b := range p.beliefs {
			after(b)
		}
		got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1"})
		if by := got.Attributes["pmtu_forward_by"]; err != nil || by != "a and b" {
			t.Errorf("got a hole between %q, %v", by, err)
		}
	}
}

// What the reflector drops above the caller's rate is no hole, nor a change.
func TestPMTUAboveItsRate(t *testing.T) {
	r := startTestReflector(t)
	p := newTestPMTU(t, r)
	p.c.TCP = false
	freeze(p.nics)
	freeze(r.mtus)
	// leave lets the reflector answer n bytes now, and a large packet a second later.
	leave := func(n int) {
		r.callers.mu.Lock()
		defer r.callers.mu.Unlock()
		now, bytes := time.Now(), r.callers.byID[p.caller].bytes
		bytes.SetBurstAt(now, 3000)
		bytes.SetLimitAt(now, 2000)
		bytes.AllowN(now, int(bytes.TokensAt(now))-n)
	}
	whole := pmtu{mtu: 1500, kind: kindAtLocalMax, how: howEcho, blackHole: holesNo}
	for _, c := range []struct {
		name  string
		fresh bool
		want  pmtu
	}{
		{"first", true, whole},
		{"a search", true, whole},
		{"another", true, whole},
		{"a verification", false, whole},
	} {
		got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1", Fresh: c.fresh})
		if f, b := told(got); err != nil || f != c.want || b != c.want {
			t.Errorf("%s: got %+v and %+v, %v", c.name, f, b, err)
		}
		leave(500)
	}
	if r.counts.limited.Load() == 0 {
		t.Error("got no packet above the rate")
	}
	r.callers.byID[p.caller].bytes.SetLimit(0) // longer than a verification lasts
	got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1"})
	if _, b := told(got); err != nil || b.kind != kindUnknown || got.Attributes["pmtu_search"] != "postponed" || len(got.Findings) > 0 {
		t.Errorf("got %+v, %v, want an unknown MTU", got, err)
	}
}

// The hops around a hole are looked for until they are neighbours, not too often.
func TestPMTULocatesAgain(t *testing.T) {
	p, _ := overRelay(t, 1400, 1500)
	answers, asked := []string{"", "a and c", "", "a and b"}, 0
	p.locate = func(context.Context, *exchange, int) (string, bool) {
		by := answers[asked]
		asked++
		return by, by == "a and b"
	}
	for i, want := range []string{"", "a and c", "a and c", "a and b", "a and b"} {
		for _, again := range []bool{true, false} {
			got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1"})
			if err != nil {
				t.Fatal(err)
			}
			if by := got.Attributes["pmtu_forward_by"]; by != want || asked > i+1 {
				t.Errorf("run %d, %v: got a hole between %q after %d times, want %q", i, again, by, asked, want)
			}
		}
		for _, b := range p.beliefs {
			b.located.at = time.Time{}
		}
	}
}

func TestPMTUWithLoss(t *testing.T) {
	p, way := overRelay(t, 1400, 1300)
	way.loss.Store(5)
	got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if f, b := told(got); f.mtu > 1400 || b.mtu > 1300 || f.kind == kindExact && f != hole(1400) || b.kind == kindExact && b != hole(1300) {
		t.Errorf("got %+v and %+v", f, b)
	}
}

func TestPMTUEndsWithItsContext(t *testing.T) {
	p, way := overRelay(t, 1500, 1500)
	way.loss.Store(100)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := p.Probe(ctx, sdk.Target{Host: "127.0.0.1"}); err == nil {
		t.Error("got no error")
	}
}

// What passes is no local maximum where nobody knows that.
func TestPMTUOfUnknownInterfaces(t *testing.T) {
	p, way := overRelay(t, 9000, 9000)
	p.nics.mtuNow = func(string) int { return 0 }
	bound := pmtu{mtu: guessedTop, kind: kindAtLeast, how: howEcho, blackHole: holesUnknown}
	got, err := p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1", Fresh: true})
	if f, b := told(got); err != nil || f != bound || b != bound {
		t.Errorf("got %+v and %+v, %v, want %+v", f, b, err, bound)
	}
	way.forward.Store(1400)
	got, err = p.Probe(context.Background(), sdk.Target{Host: "127.0.0.1", Fresh: true})
	if f, _ := told(got); err != nil || f != hole(1400) {
		t.Errorf("got %+v, %v, want %+v", f, err, hole(1400))
	}
}

// rumours is a search with a stranger who sees no packet, but tells of an MTU.
type rumours struct {
	*search
	x *exchange
}

func (r rumours) echo(size int) {
	r.search.echo(size)
	r.x.takeError(arrival{kind: arrivalError, payload: make([]byte, 8), icmp: icmpError{router: fakeRouter, what: icmpTooBig, mtu: 600}})
}

func TestPMTUIgnoresBlindClaims(t *testing.T) {
	_, way := overRelay(t, 1400, 1500)
	x, err := newExchange(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), way.port()), 0, 7, testKey, testCaller)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	x.limit(1500)
	s := newSearch(x.small(), 1500)
	x.forward, x.back = rumours{s, x}, new(trial)
	for sizes := s.next(); len(sizes) > 0; sizes = s.next() {
		if err := x.ask(context.Background(), sizes, nil); err != nil {
			t.Fatal(err)
		}
		s.expire()
	}
	if s.result != hole(1400) || s.hearsay == 0 {
		t.Errorf("got %+v after %d claims, want %+v", s.result, s.hearsay, hole(1400))
	}
}

// Nobody waits long for what was sent before the last packet, once that is answered.
func TestRoundEndsSoonAfterItsLastAnswer(t *testing.T) {
	_, way := overRelay(t, 1000, 1500)
	x, err := newExchange(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), way.port()), 0, 7, testKey, testCaller)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	x.limit(1500)
	for range 50 { // the machine may be busy
		x.forward, x.back = &trial{want: 1400}, new(trial)
		began := time.Now()
		if err := x.ask(t.Context(), []int{1400, x.small()}, nil); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) < minWait {
			return
		}
	}
	t.Errorf("no round took less than %s", minWait)
}

// What routers told the reflector comes with the answer to a small packet that asks.
func TestNudgeBringsReports(t *testing.T) {
	r := startTestReflector(t)
	x, err := newExchange(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), r.port()), 0, 7, testKey, testCaller)
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	x.limit(1500)
	if ok, err := x.hello(t.Context(), nil); err != nil || !ok {
		t.Fatal(ok, err)
	}
	x.forward, x.back = new(trial), &trial{want: 1400}
	if err := x.ask(t.Context(), nil, []int{1400}); err != nil {
		t.Fatal(err)
	}
	back := &trial{want: 1400}
	x.back = back
	for seq := range uint32(maxReports) {
		told := report{mtu: 1300, seq: seq, quotes: true}
		if !r.callers.learn(x.sock.local(), told, x.ssid, time.Now()) && seq < x.seq {
			t.Fatalf("got a lie in %+v", told)
		}
	}
	if err := x.send(&shot{nudge: true}); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); !back.claimed; {
		if err := x.take(t.Context(), until); err != nil {
			t.Fatalf("got no report: %v", err)
		}
	}
}
