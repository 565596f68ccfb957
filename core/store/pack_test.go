package store

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// told is a row of poll_results or of metric_results.
type told struct {
	node, what string
	ms         int64
	said       string
}

func compareTold(a, b told) int {
	return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.what, b.what), cmp.Compare(a.ms, b.ms), cmp.Compare(a.said, b.said))
}

// expect is what the views must say of results.
func expect(rs []core.Result) (all []told) {
	for _, r := range rs {
		name, rtt := r.Job.Target.Node.String(), "NULL"
		if us := rttUS(r.RTT); us != nil {
			rtt = fmt.Sprint(*us)
		}
		hour := r.At().UTC().Format("2006-01-02T15")
		all = append(all, told{name, r.Job.Probe, r.At().UnixMilli(), fmt.Sprintf("%s|%s|%s|%s|%s", hour, r.Outcome, r.Reason, r.Message, rtt)})
		for _, m := range r.Metrics {
			all = append(all, told{name, r.Job.Probe + " " + m.Name, r.At().UnixMilli(), fmt.Sprintf("%s|%d", hour, int64(math.Round(m.Value*1e6)))})
		}
	}
	slices.SortFunc(all, compareTold)
	return all
}

const toldSQL = `SELECT node_id, probe, ts_ms, hour || '|' || outcome || '|' || reason || '|' || message || '|' || COALESCE(CAST(rtt_us AS TEXT), 'NULL') FROM poll_results
UNION ALL SELECT node_id, probe || ' ' || metric, ts_ms, hour || '|' || CAST(CAST(ROUND(value * 1000000) AS BIGINT) AS TEXT) FROM metric_results`

func (w *writer) told(t *testing.T) (all []told) {
	t.Helper()
	rows, err := w.s.reader.DB.Query(toldSQL)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var r told
		must(t, rows.Scan(&r.node, &r.what, &r.ms, &r.said))
		all = append(all, r)
	}
	must(t, rows.Err())
	slices.SortFunc(all, compareTold)
	return all
}

func diffTold(t *testing.T, when string, got, want []told) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: row %d\ngot  %v\nwant %v", when, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: got %d rows, want %d", when, len(got), len(want))
	}
}

// motley is results of all kinds: three probes at two nodes over some hours, at
// odd times, with values and without.
func motley(rng *rand.Rand, begin time.Time, n int, gap time.Duration) []core.Result {
	rs := make([]core.Result, n)
	at := begin
	for i := range rs {
		at = at.Add(time.Duration(1+rng.Int64N(2*gap.Milliseconds())) * time.Millisecond)
		r := result(1+rng.IntN(2), uint64(i+1), at, time.Duration(rng.Int64N(1<<rng.IntN(35))))
		r.Job.Probe = []string{"https", "stamp", "pmtu"}[rng.IntN(3)]
		switch rng.IntN(8) {
		case 0:
			r = failure(1, r.Job.ID, at, core.Outcome(2+rng.IntN(3)), core.Reason([]string{"", "timeout"}[rng.IntN(2)]), []string{"", "it's late"}[rng.IntN(2)])
		case 1:
			r.RTT = 0
		case 2:
			r.Outcome, r.Reason, r.Message = core.OutcomeFailure, "slow", "too slow"
		}
		if rng.IntN(3) > 0 {
			r.Metrics = append(r.Metrics, core.Metric{Name: "pmtu_bytes", Value: float64(1500 - 100*rng.IntN(2))})
		}
		if rng.IntN(3) > 0 {
			r.Metrics = append(r.Metrics, core.Metric{Name: "skew_seconds", Value: float64(rng.IntN(2_000_000)-1_000_000) / 1e6})
		}
		rs[i] = r
	}
	return rs
}

// What is packed reads as it did before: in SQL, in the sqlite3 shell and by
// History.
func TestPack(t *testing.T) {
	w := stopped(t, Options{})
	rng := rand.New(rand.NewPCG(3, 4))
	rs := motley(rng, epoch, 3000, 10*time.Second)
	want := expect(rs)
	w.save(t, rs...)
	diffTold(t, "in the tail", w.told(t), want)
	before := w.histories(t)
	w.settle(t, rs[len(rs)-1].At())
	if w.tailRows != 0 || w.packed.rows == 0 {
		t.Fatalf("%d rows are in the tail, %d in chunks", w.tailRows, w.packed.rows)
	}
	w.countRows(t)
	diffTold(t, "in chunks", w.told(t), want)
	if after := w.histories(t); after != before {
		t.Errorf("history changed:\n%s\nbefore\n%s", after, before)
	}
	if shell, err := exec.LookPath("sqlite3"); err == nil && w.s.o.DSN == "" {
		out, err := exec.Command(shell, "-readonly", "-separator", "\x1f", w.s.o.Path, toldSQL).CombinedOutput()
		if err != nil {
			t.Fatalf("sqlite3: %v\n%s", err, out)
		}
		var got []told
		for line := range strings.Lines(string(out)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\x1f")
			var ms int64
			_, err := fmt.Sscan(f[2], &ms)
			must(t, err)
			got = append(got, told{f[0], f[1], ms, f[3]})
		}
		slices.SortFunc(got, compareTold)
		diffTold(t, "in the sqlite3 shell", got, want)
	}
}

// histories is what History says of everything that motley makes.
func (w *writer) histories(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for n := 1; n <= 2; n++ {
		for _, probe := range []string{"https", "stamp", "pmtu"} {
			for _, metric := range []string{"", "pmtu_bytes", "skew_seconds"} {
				got, err := w.s.History(t.Context(), core.HistoryQuery{
					Node: node(n), Probe: probe, Metric: metric, From: epoch.Add(-time.Hour), To: epoch.Add(12 * time.Hour), Step: 17 * time.Minute,
				})
				must(t, err)
				for _, at := range got {
					fmt.Fprintf(&b, "%d %s %s %s %d %d %.9f %.9f %.9f\n", n, probe, metric, at.At, at.Runs, at.Failures, at.Min, at.Mean, at.Max)
				}
			}
		}
	}
	return b.String()
}

// However results come, early, late or twice, and however often they are packed
// in between, the same is stored.
func TestPackInAnyOrder(t *testing.T) {
	for seed := range uint64(5) {
		w := stopped(t, Options{})
		rng := rand.New(rand.NewPCG(seed, 1))
		rs := motley(rng, epoch, 600, 15*time.Second)
		want := expect(rs)
		w.save(t, rs[0]) // all but the newest keep their time
		shuffled := slices.Clone(rs)
		slices.SortStableFunc(shuffled, func(a, b core.Result) int { return cmp.Compare(a.Job.ID+uint64(rng.IntN(50)), b.Job.ID) })
		for part := range slices.Chunk(shuffled, 150) {
			w.save(t, part...)
			if rng.IntN(2) == 0 {
				w.lastPack = time.Time{}
				w.settle(t, rs[len(rs)-1].At())
				w.save(t, part[:10]...) // again
			}
		}
		w.lastPack = time.Time{}
		w.settle(t, rs[len(rs)-1].At())
		diffTold(t, fmt.Sprintf("seed %d", seed), w.told(t), want)
		w.countRows(t)
	}
}

// A step packs as many paths as one transaction may rewrite; what comes in
// between two steps is not lost.
func TestPackInSteps(t *testing.T) {
	w := stopped(t, Options{MaxBytes: minMaxBytes})
	const peers = 100
	w.packBytes = 200 // some paths at a time
	rs := make([]core.Result, 0, 3*peers)
	for i := range 3 {
		for n := range peers {
			rs = append(rs, result(n+1, uint64(i*peers+n+1), epoch.Add(time.Duration(i*40)*time.Minute+time.Duration(n)*time.Millisecond), time.Millisecond))
		}
	}
	late := rs[peers/2 : peers]
	w.save(t, rs[:peers/2]...)
	w.save(t, rs[peers:]...)
	now := rs[len(rs)-1].At()
	more, err := w.pack(t.Context(), now)
	if must(t, err); !more {
		t.Fatal("all was packed in one step")
	}
	if left := len(w.packing.order); left == 0 || left == peers {
		t.Fatalf("%d of %d paths are left after a step", left, peers)
	}
	w.save(t, late...)
	for more {
		more, err = w.pack(t.Context(), now)
		must(t, err)
	}
	diffTold(t, "some packed", w.told(t), expect(rs))
	w.lastPack = time.Time{}
	w.settle(t, now)
	diffTold(t, "all packed", w.told(t), expect(rs))
	w.countRows(t)
}

// Roll-ups say what the raw results said, also of results that come when there
// is a roll-up already, and when there is nothing else.
func TestRollups(t *testing.T) {
	begin := epoch.Truncate(24 * time.Hour)
	rng := rand.New(rand.NewPCG(5, 6))
	rs := motley(rng, begin, 3000, 40*time.Second) // 33 hours
	late := slices.Clone(rs)
	rs = slices.DeleteFunc(rs, func(r core.Result) bool { return r.Job.ID%10 == 0 })
	late = slices.DeleteFunc(late, func(r core.Result) bool { return r.Job.ID%10 != 0 })
	end := rs[len(rs)-1].At()

	raw := stopped(t, Options{Raw: 100 * 24 * time.Hour})
	raw.save(t, rs...)
	raw.save(t, late...)
	raw.settle(t, end)
	want := raw.hours(t, begin, end)
	window := core.WindowQuery{Probe: "stamp", From: begin, To: end.Truncate(time.Hour)}
	exact, err := raw.s.Percentiles(t.Context(), window)
	must(t, err)

	for name, wait := range map[string]time.Duration{"before": 0, "while there are chunks": 0, "when chunks are gone": 72 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := stopped(t, Options{})
			w.save(t, rs...)
			if name != "before" {
				w.settle(t, end)
				w.live(t, 9, end, end.Add(wait))
				w.settle(t, end.Add(wait))
			}
			w.save(t, late...)
			w.live(t, 9, end.Add(wait), end.Add(72*time.Hour))
			w.lastPack = time.Time{}
			w.settle(t, end.Add(72*time.Hour))
			if w.packed.rows > 30 || w.rollups.rows == 0 || w.tailRows > 0 {
				t.Fatalf("%d rows in chunks, %d roll-ups, %d in the tail; want only roll-ups and a day of single results", w.packed.rows, w.rollups.rows, w.tailRows)
			}
			rough, err := w.s.Percentiles(t.Context(), window)
			must(t, err)
			comparePercentiles(t, rough, exact, 0.06) // 5 % and 1 %
			for k, hours := range w.hours(t, begin, end) {
				for i, got := range hours {
					want := want[k][i]
					if math.Abs(got.Mean-want.Mean) < map[bool]float64{true: 1.01, false: 3e-6}[strings.Contains(k, "bytes")] { // packed means are whole
						got.Mean = want.Mean
					}
					if !strings.Contains(k, "bytes") { // within 2 %, each time that some come late
						of := max(math.Abs(want.Mean), want.Max-want.Min)
						for g, w := range map[*float64]float64{&got.Min: want.Min, &got.Mean: want.Mean, &got.Max: want.Max} {
							if math.Abs(*g-w) <= 0.02*max(of, math.Abs(w)) {
								*g = w
							}
						}
					}
					if !sameBucket(got, want) {
						t.Errorf("%s: got %+v, want %+v", k, got, want)
					}
				}
			}
		})
	}
}

// hours is what History says by the hour. Runs of metrics are not compared: a
// roll-up counts values.
func (w *writer) hours(t *testing.T, from, to time.Time) map[string][]core.Bucket {
	t.Helper()
	all := map[string][]core.Bucket{}
	for _, metric := range []string{"", "pmtu_bytes", "skew_seconds"} {
		for n := 1; n <= 2; n++ {
			got, err := w.s.History(t.Context(), core.HistoryQuery{Node: node(n), Probe: "stamp", Metric: metric, From: from, To: to, Step: time.Hour})
			must(t, err)
			for i := range got {
				if metric != "" {
					got[i].Runs, got[i].Failures = 0, 0
				}
			}
			all[fmt.Sprintf("%q of %d", metric, n)] = got
		}
	}
	return all
}

// Much is read step by step before it is packed, so that results need not wait for
// all of it; one that comes in between is packed too.
func TestPackReadsInSteps(t *testing.T) {
	now := epoch
	w := stopped(t, Options{Now: func() time.Time { return now }})
	const peers, n = 10, 2*readRows + 1000
	var rs []core.Result
	for i := range n {
		rs = append(rs, result(i%peers+1, uint64(i+1), epoch.Add(time.Duration(i)*100*time.Millisecond), time.Millisecond))
	}
	for part := range slices.Chunk(rs, groupSize) {
		w.save(t, part...)
	}
	now = epoch.Add(50 * time.Minute)
	for step := range 2 {
		if !w.maintain(t.Context(), now) || w.tailRows != n {
			t.Fatalf("step %d: got %d rows left, want %d", step, w.tailRows, n)
		}
	}
	w.save(t, result(1, n+1, epoch.Add(50*time.Millisecond), time.Millisecond))
	for w.maintain(t.Context(), now) {
	}
	if w.tailRows != 0 || w.packed.rows != n+1 {
		t.Errorf("got %d rows left and %d packed, want 0 and %d", w.tailRows, w.packed.rows, n+1)
	}
}
