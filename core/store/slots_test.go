package store

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// teller is a writer whose peers tell their rows of the matrix, in steps of time.
type teller struct {
	w   *writer
	now time.Time
}

func newTeller(t testing.TB, peers int, o Options) *teller {
	m := &teller{w: stopped(t, o), now: epoch.Truncate(10 * time.Minute)}
	m.w.s.o.Now = func() time.Time { return m.now }
	for peer := 1; peer <= peers; peer++ {
		m.w.admitted[node(peer)] = true
	}
	m.w.save(t, result(1, 1, m.now, time.Millisecond)) // self knows the probe
	return m
}

// pass has peers tell their rows, and goes on to the next slot.
func (m *teller) pass(t testing.TB, rows ...[]core.PathStatus) {
	t.Helper()
	views := map[core.NodeID]view{}
	m.now = m.now.Add(10 * time.Minute)
	for _, pairs := range rows {
		views[pairs[0].Source] = view{at: m.now.Add(-time.Second), pairs: soundPairs(pairs[0].Source, pairs, "https", m.now)}
	}
	r := &request{done: make(chan error, 1), do: func(ctx context.Context, c *commit) error { return c.saveViews(ctx, views) }}
	m.w.commitGroup([]*request{r})
	must(t, <-r.done)
	for m.w.maintain(context.Background(), m.now) {
	}
	must(t, m.w.s.fault)
}

func (m *teller) at(t testing.TB, at time.Time) map[string]string {
	t.Helper()
	paths, err := pathsOf(context.Background(), m.w.s, core.MatrixQuery{At: at})
	must(t, err)
	got := map[string]string{}
	for _, p := range paths {
		if p.Source != node(0) {
			got[fmt.Sprintf("%s>%s", nameOf(p.Source), nameOf(p.Destination))] = said(p)
		}
	}
	return got
}

// said is an outcome, and RTT by its bucket.
func said(p core.PathStatus) string {
	return fmt.Sprintf("%s %s %d", p.Outcome, p.Reason, bucketOf(p.RTT.Microseconds()))
}

func nameOf(id core.NodeID) string {
	for n := range 2000 {
		if node(n) == id {
			return fmt.Sprint(n)
		}
	}
	return id.String()
}

func tells(a, b int, rtt time.Duration, at time.Time) core.PathStatus {
	p := pair(a, b, at)
	p.RTT = rtt
	if rtt == 0 {
		p.Outcome, p.Reason, p.Message = core.OutcomeFailure, "timeout", "no answer within 5 s"
	}
	return p
}

// The matrix at a past time is what peers told then: outcomes at once, an RTT
// that lasts from when it was first told, one that does not never.
func TestPastMatrix(t *testing.T) {
	m := newTeller(t, 3, Options{})
	begin := m.now
	at := func(slot int) time.Time { return begin.Add(time.Duration(slot)*10*time.Minute + 3*time.Minute) }
	const ms = time.Millisecond
	for _, rtts := range [][2]time.Duration{
		{10 * ms, 20 * ms}, // slot 1
		{11 * ms, 20 * ms}, // hardly another
		{90 * ms, 20 * ms}, // a spike
		{10 * ms, 0},       // a failure
		{10 * ms, 0},
		{10 * ms, 50 * ms}, // back, another path
		{40 * ms, 50 * ms}, // one that lasts
		{41 * ms, 50 * ms},
	} {
		m.pass(t, []core.PathStatus{tells(1, 2, rtts[0], m.now), tells(1, 3, rtts[1], m.now)}, []core.PathStatus{tells(2, 0, 5*ms, m.now)})
	}
	m.pass(t, []core.PathStatus{tells(1, 2, 41*ms, m.now)}) // node 2 is silent
	m.pass(t, []core.PathStatus{tells(1, 2, 41*ms, m.now)}, []core.PathStatus{tells(2, 0, 5*ms, m.now)})
	ok := func(rtt time.Duration) string { return said(core.PathStatus{Outcome: core.OutcomeSuccess, RTT: rtt}) }
	lost := said(core.PathStatus{Outcome: core.OutcomeFailure, Reason: "timeout"})
	for slot, want := range []map[string]string{
		0:  {},
		1:  {"1>2": ok(10 * ms), "1>3": ok(20 * ms), "2>0": ok(5 * ms)},
		2:  {"1>2": ok(10 * ms), "1>3": ok(20 * ms), "2>0": ok(5 * ms)},
		3:  {"1>2": ok(10 * ms), "1>3": ok(20 * ms), "2>0": ok(5 * ms)},
		4:  {"1>2": ok(10 * ms), "1>3": lost, "2>0": ok(5 * ms)},
		5:  {"1>2": ok(10 * ms), "1>3": lost, "2>0": ok(5 * ms)},
		6:  {"1>2": ok(10 * ms), "1>3": ok(50 * ms), "2>0": ok(5 * ms)},
		7:  {"1>2": ok(41 * ms), "1>3": ok(50 * ms), "2>0": ok(5 * ms)},
		8:  {"1>2": ok(41 * ms), "1>3": ok(50 * ms), "2>0": ok(5 * ms)},
		9:  {"1>2": ok(41 * ms)},
		10: {"1>2": ok(41 * ms), "2>0": ok(5 * ms)},
		11: {},
	} {
		if got := m.at(t, at(slot)); !maps.Equal(got, want) {
			t.Errorf("slot %d: got %v, want %v", slot, got, want)
		}
	}
}

// Self's row is what it measured until then, with its messages.
func TestPastRow(t *testing.T) {
	m := newTeller(t, 2, Options{})
	begin := m.now
	for i := range 200 {
		m.now = begin.Add(time.Duration(i) * 30 * time.Second)
		r := result(2, uint64(i+2), m.now, time.Duration(i+1)*time.Millisecond)
		if i == 60 {
			r = failure(2, uint64(i+2), m.now, core.OutcomeFailure, "timeout", "no answer within 5 s")
		}
		m.w.save(t, r)
		for m.w.maintain(t.Context(), m.now) {
		}
	}
	for i, want := range map[int]core.PathStatus{
		10:  {Outcome: core.OutcomeSuccess, RTT: 11 * time.Millisecond},
		60:  {Outcome: core.OutcomeFailure, Reason: "timeout", Message: "no answer within 5 s"},
		119: {Outcome: core.OutcomeSuccess, RTT: 120 * time.Millisecond},
		199: {Outcome: core.OutcomeSuccess, RTT: 200 * time.Millisecond},
	} {
		at := begin.Add(time.Duration(i) * 30 * time.Second)
		want.Source, want.Destination, want.Probe, want.At = node(0), node(2), "https", at
		got, err := pathsOf(t.Context(), m.w.s, core.MatrixQuery{At: at.Add(29 * time.Second)})
		must(t, err)
		got = slices.DeleteFunc(got, func(p core.PathStatus) bool { return p.Destination != node(2) })
		comparePaths(t, got, []core.PathStatus{want})
	}
	if got := m.at(t, begin.Add(-2*time.Hour)); len(got) != 0 {
		t.Errorf("before anything: got %v", got)
	}
}

// The history goes on over restarts and lost slots, and nothing of it is told of
// the time in between.
func TestPastRestart(t *testing.T) {
	m := newTeller(t, 2, Options{})
	row := func(rtt time.Duration) []core.PathStatus { return []core.PathStatus{tells(1, 2, rtt, m.now)} }
	m.pass(t, row(10*time.Millisecond))
	before := m.now
	w, err := m.w.s.newWriter(t.Context())
	must(t, err)
	m.w = w
	m.w.admitted[node(1)], m.w.admitted[node(2)] = true, true
	for m.w.maintain(t.Context(), m.now) { // the slot is there already
	}
	m.now = m.now.Add(20 * time.Minute)
	m.pass(t, row(0))
	for at, want := range map[time.Time]int{before: 1, before.Add(10 * time.Minute): 0, before.Add(20 * time.Minute): 0, m.now: 1} {
		if got := m.at(t, at); len(got) != want {
			t.Errorf("%s: got %v, want %d", at.Sub(before), got, want)
		}
	}
}

// A clock that was ahead leaves nothing that stands in the way.
func TestSlotsClockSetBack(t *testing.T) {
	m := newTeller(t, 2, Options{})
	right := m.now
	m.now = right.Add(30 * 24 * time.Hour)
	m.pass(t, []core.PathStatus{tells(1, 2, 0, m.now)})
	m.now = right
	m.pass(t, []core.PathStatus{tells(1, 2, time.Millisecond, m.now)})
	if got := m.at(t, m.now); len(got) != 1 {
		t.Errorf("got %v, want what was told now", got)
	}
}

// A clock that is wrong for a while takes nothing of the history of the matrix
// away, and changes nothing of it.
func TestSlotsWrongClock(t *testing.T) {
	for name, c := range map[string]struct {
		off  time.Duration
		long int
	}{
		"behind for one look":        {-48 * time.Hour, 1},
		"behind, within the history": {-100 * time.Minute, 1},
		"ahead":                      {48 * time.Hour, 12},
		"an hour ahead":              {time.Hour, 3},
	} {
		t.Run(name, func(t *testing.T) {
			m := newTeller(t, 40, Options{})
			begin, n, was := m.now, 0, map[time.Time]map[string]string{}
			tell := func(slots int) {
				for range slots { // other destinations now and then: another shape
					n++
					var row []core.PathStatus
					for d := range 4 {
						row = append(row, tells(1, 2+n/7+d, time.Duration((n+d)%5)*100*time.Millisecond, m.now))
					}
					m.pass(t, row)
					if at := m.now.Add(time.Minute); was[at] == nil {
						was[at] = map[string]string{}
						for _, p := range row {
							was[at]["1>"+nameOf(p.Destination)] = said(p)
						}
					}
				}
			}
			tell(24)
			m.now = m.now.Add(c.off)
			tell(c.long)
			m.now = m.now.Add(-c.off)
			tell(24)
			for at, want := range was {
				if at.Before(begin) {
					continue // too old anyway
				}
				got := m.at(t, at)
				if len(got) != 4 {
					t.Errorf("%s: got %v, want %v", at, got, want)
				}
				for path, said := range want { // an RTT may be told one slot late
					if outcome, _, _ := strings.Cut(said, " "); !strings.HasPrefix(got[path], outcome) {
						t.Errorf("%s: got %v, want %v", at, got, want)
					}
				}
			}
		})
	}
}

// What a peer makes up does not fill the database.
func TestSlotsHostile(t *testing.T) {
	m := newTeller(t, 2, Options{})
	for slot := range 40 {
		var pairs []core.PathStatus
		for i := range 500 {
			p := tells(1, 1000+500*slot+i, time.Duration(i)*time.Millisecond, m.now)
			q := tells(1, 2, time.Millisecond, m.now)
			q.Probe, q.Reason = fmt.Sprintf("probe-%d-%d", slot, i), core.Reason(fmt.Sprintf("reason%d", i))
			pairs = append(pairs, p, q)
		}
		m.pass(t, append(pairs, tells(1, 2, time.Millisecond, m.now)))
	}
	var names int
	must(t, m.w.db.NewSelect().Model((*nameRow)(nil)).ColumnExpr("COUNT(*)").Scan(t.Context(), &names))
	if names != 3 || m.w.slots.size.bytes > 2000 {
		t.Errorf("got %d names, %d bytes", names, m.w.slots.size.bytes)
	}
}

// sizeOfSlots has peers tell what they measure of one another by three probes,
// slot by slot, and gives the bytes of the last day.
func sizeOfSlots(t testing.TB, peers, count int, o Options) (m *teller, bytes int64) {
	m = newTeller(t, peers, o)
	for i, probe := range []string{"stamp", "pmtu"} {
		r := result(1, uint64(i+2), m.now, time.Millisecond)
		r.Job.Probe = probe
		m.w.save(t, r)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	base := make([]float64, peers*peers)
	for i := range base {
		base[i] = simBase(rng)
	}
	for range count {
		rows := make([][]core.PathStatus, peers)
		for a := range peers {
			for b := range peers {
				if a == b {
					continue
				}
				for _, probe := range []string{"https", "stamp", "pmtu"} {
					rtt := base[a*peers+b] * math.Exp(0.06*rng.NormFloat64())
					switch p := rng.Float64(); {
					case p < 0.005:
						rtt = 0
					case p < 0.025:
						rtt *= 1 + 9*rng.Float64()
					}
					p := tells(a+1, b+1, time.Duration(rtt*1e9), m.now)
					p.Probe, p.Message = probe, ""
					rows[a] = append(rows[a], p)
				}
			}
		}
		m.pass(t, rows...)
		m.w.save(t, result(1, 0, m.now, time.Millisecond)) // age is counted from the newest
	}
	return m, m.w.slots.size.bytes
}

// The history of the matrix stays within its age and its share of the database.
func TestSlotsBounded(t *testing.T) {
	m, bytes := sizeOfSlots(t, 6, 100, Options{Raw: 6 * time.Hour})
	oldest, err := m.w.oldest(t.Context())
	must(t, err)
	if age := m.now.Sub(time.UnixMilli(oldest.matrix)); age > 12*time.Hour+20*time.Minute || age < 11*time.Hour {
		t.Errorf("the oldest slot is %s old, want 12 h", age)
	}
	if n := m.w.s.Counts().Dropped[core.DropMatrix]; n != 0 {
		t.Errorf("%d rows are told as dropped that were too old", n)
	}
	if got := m.at(t, m.now.Add(-6*time.Hour)); len(got) != 6*5 {
		t.Errorf("6 h ago: got %d paths, want %d", len(got), 6*5)
	}
	var stored int64
	must(t, m.w.db.NewSelect().Model((*frameRow)(nil)).ColumnExpr("SUM(LENGTH(data) + ?)", m.w.rowSizes.packed).Scan(t.Context(), &stored))
	if stored != bytes {
		t.Errorf("got %d bytes, stored are %d", bytes, stored)
	}
	m.w.s.o.MaxBytes = 1000 * matrixShare
	m.pass(t, []core.PathStatus{tells(1, 2, time.Millisecond, m.now)})
	if m.w.slots.size.bytes > 1000 || m.w.slots.size.rows == 0 {
		t.Errorf("got %+v, want at most 1000 bytes", m.w.slots.size)
	}
	if n := m.w.s.Counts().Dropped[core.DropMatrix]; n == 0 {
		t.Error("that the matrix went before its time is not told")
	}
}
