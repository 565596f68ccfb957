package store

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

const someHour = 498_000

func unpackRuns(t testing.TB, hour int64, data []byte) []run {
	t.Helper()
	var runs []run
	r := readRuns(hour, data)
	for x := (run{}); r.next(&x); {
		runs = append(runs, x)
	}
	must(t, r.err)
	return runs
}

func unpackValues(t testing.TB, data []byte) []sample {
	t.Helper()
	var vs []sample
	r := readValues(data)
	for {
		s, n := r.next()
		if n == 0 {
			must(t, r.err)
			return vs
		}
		vs = append(vs, slices.Repeat([]sample{s}, n)...)
	}
}

func TestRuns(t *testing.T) {
	begin := int64(someHour * hourMS)
	us := func(v int64) sample { return sample{v, true} }
	for name, runs := range map[string][]run{
		"none":     nil,
		"one":      {{begin, 1, us(1234)}},
		"the edge": {{begin, 1, us(1)}, {begin + hourMS - 1, 1, us(maxScaled - 1)}},
		"adjacent": {{begin + 5, 1, us(7)}, {begin + 6, 1, us(7)}, {begin + 7, 1, us(-7)}},
		"extremes": {{begin, 1, us(maxScaled - 1)}, {begin + 1, 1, us(1 - maxScaled)}, {begin + 2, 1, us(maxScaled - 1)}},
		"all kinds": {
			{begin, 1, us(100)},
			{begin + 30_000, 1, sample{}},
			{begin + 60_500, 2, sample{}},
			{begin + 90_000, 2, sample{}},
			{begin + 120_000, 2, us(50)},
			{begin + 150_000, 31_994, sample{}},
			{begin + 180_000, 1, us(101)},
			{begin + 180_001, 31_994, sample{}},
			{begin + 3_599_999, 2, us(1)},
		},
	} {
		if got := unpackRuns(t, someHour, appendRuns(nil, someHour, runs)); !slices.Equal(got, runs) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, runs)
		}
	}
}

func TestValues(t *testing.T) {
	null := sample{}
	v := func(v int64) sample { return sample{v, true} }
	for name, vs := range map[string][]sample{
		"none":     nil,
		"one":      {v(-5)},
		"twice":    {v(3), v(3)},
		"constant": slices.Repeat([]sample{v(1500)}, 120),
		"gaps":     {null, v(1), null, null, v(1), null, null, null, v(2), v(2), v(2), v(0)},
		"extremes": {v(maxScaled - 1), v(1 - maxScaled), null, v(maxScaled - 1)},
	} {
		packed := appendValues(nil, vs)
		if got := unpackValues(t, packed); !slices.Equal(got, vs) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, vs)
		}
		if more := appendValues(nil, append(slices.Clone(vs), null, null)); !bytes.Equal(more, packed) {
			t.Errorf("%s: nothing measured at the end takes room", name)
		}
	}
	if n := len(appendValues(nil, slices.Repeat([]sample{v(1500)}, 120))); n > 4 {
		t.Errorf("an hour of one value: got %d bytes, want at most 4", n)
	}
	if n := len(appendValues(nil, slices.Repeat([]sample{null}, 120))); n != 0 {
		t.Errorf("an hour of nothing: got %d bytes", n)
	}
}

func FuzzRuns(f *testing.F) {
	begin := int64(someHour * hourMS)
	f.Add(appendRuns(nil, someHour, []run{{begin, 1, sample{100, true}}, {begin + 30_000, 2, sample{}}, {begin + 60_000, 2, sample{5, true}}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		compareWhole(t, data)
		var runs []run
		r := readRuns(someHour, data)
		for x := (run{}); r.next(&x); {
			runs = append(runs, x)
			if x.ms < begin || x.ms >= begin+hourMS || x.status <= 0 {
				t.Fatalf("got %v", x)
			}
		}
		if r.err != nil {
			if !errors.Is(r.err, errBadChunk) {
				t.Errorf("got %v, want %v", r.err, errBadChunk)
			}
			return
		}
		if !slices.IsSortedFunc(runs, func(a, b run) int { return int(a.ms - b.ms) }) {
			return // not what is ever packed
		}
		if got := unpackRuns(t, someHour, appendRuns(nil, someHour, runs)); !slices.Equal(got, runs) {
			t.Errorf("got  %v\nwant %v", got, runs)
		}
	})
}

func FuzzValues(f *testing.F) {
	f.Add(appendValues(nil, []sample{{1, true}, {1, true}, {1, true}, {}, {2, true}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var vs []sample
		r := readValues(data)
		for {
			s, n := r.next()
			if n == 0 {
				break
			}
			if len(vs)+n > 10_000 {
				return
			}
			vs = append(vs, slices.Repeat([]sample{s}, n)...)
		}
		if r.err != nil {
			if !errors.Is(r.err, errBadChunk) {
				t.Errorf("got %v, want %v", r.err, errBadChunk)
			}
			return
		}
		for len(vs) > 0 && !vs[len(vs)-1].ok {
			vs = vs[:len(vs)-1]
		}
		if got := unpackValues(t, appendValues(nil, vs)); !slices.Equal(got, vs) {
			t.Errorf("got  %v\nwant %v", got, vs)
		}
	})
}

// someHours is a day of a series as it may be.
func someHours(rng *rand.Rand, kind byte) []hourSum {
	var hours []hourSum
	for h := range dayHours {
		if rng.IntN(5) == 0 {
			continue
		}
		sum := newSum(h)
		for range rng.IntN(120) {
			v := 1 + rng.Int64N(1<<rng.IntN(40))
			if kind == rollupValues {
				sum.values(v-500, 1)
				continue
			}
			if sum.runs++; rng.IntN(20) == 0 {
				sum.failures++
			} else {
				sum.rtt(v)
			}
		}
		hours = append(hours, sum.done())
	}
	return hours
}

func TestRollup(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	days := map[string][]hourSum{
		"empty":          {},
		"an empty hour":  {{hour: 23}},
		"only failures":  {{hour: 3, runs: 120, failures: 120}, {hour: 4, runs: 119, failures: 119}},
		"failed, an RTT": {{hour: 3, runs: 1, failures: 1, n: 1, min: 5, max: 5, mean: 5, bins: []binCount{{coarseBin(5), 1}}}},
	}
	for range 200 {
		days["random"] = someHours(rng, rollupRuns)
		for name, hours := range days {
			kind, got, err := readRollup(appendRollup(nil, rollupRuns, hours))
			if err != nil || kind != rollupRuns || !slices.EqualFunc(got, hours, nearSum) {
				t.Fatalf("%s: %v\ngot  %v\nwant %v", name, err, got, hours)
			}
		}
		hours := someHours(rng, rollupValues)
		kind, got, err := readRollup(appendRollup(nil, rollupValues, hours))
		if err != nil || kind != rollupValues || !slices.EqualFunc(got, hours, nearSum) {
			t.Fatalf("values: %v\ngot  %v\nwant %v", err, got, hours)
		}
	}
}

// nearSum wants counts as they were, values within 2 %: of RTT of themselves, of a
// metric of the mean; and those that are all the same exact.
func nearSum(got, want hourSum) bool {
	near := func(got, want, of int64) bool { return float64(max(got-want, want-got)) <= 0.02*math.Abs(float64(of)) }
	of := want
	if len(want.bins) == 0 {
		of.min, of.max = want.mean, want.mean
	}
	if want.min == want.max && len(want.bins) == 0 {
		of = hourSum{}
	}
	sound := near(got.min, want.min, of.min) && near(got.mean, want.mean, of.mean) && near(got.max, want.max, of.max)
	got.min, got.mean, got.max = want.min, want.mean, want.max
	return sound && reflect.DeepEqual(got, want)
}

// Sums of a metric that stays as it is cost next to nothing, and are exact: a
// certificate does not expire 2 % earlier. In the hour of a change they are as exact
// as that is large.
func TestRollupOfWhatStays(t *testing.T) {
	const before, after = 1_800_000_000 * micro, 1_807_776_000 * micro
	var hours []hourSum
	for h := range dayHours {
		sum := newSum(h)
		sum.values(map[bool]int64{true: before, false: after}[h <= 12], 120)
		if h == 12 {
			sum.values(after, 60)
		}
		hours = append(hours, sum.done())
	}
	packed := appendRollup(nil, rollupValues, hours)
	_, got, err := readRollup(packed)
	must(t, err)
	for h := range got {
		off := max(got[h].min-hours[h].min, hours[h].min-got[h].min, got[h].max-hours[h].max, hours[h].max-got[h].max)
		if h != 12 && off != 0 || off > (after-before)/16 || len(packed) > 80 {
			t.Errorf("%d bytes, hour %d: got %+v, want %+v", len(packed), h, got[h], hours[h])
		}
	}
	if packed = appendRollup(nil, rollupValues, hours[:12]); len(packed) > 25 {
		t.Errorf("got %d bytes of what stays as it is, want 25 at most", len(packed))
	}
}

func FuzzRollup(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		f.Add(appendRollup(nil, rollupRuns, someHours(rng, rollupRuns)))
		f.Add(appendRollup(nil, rollupValues, someHours(rng, rollupValues)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, hours, err := readRollup(data)
		if err != nil {
			if !errors.Is(err, errBadRollup) {
				t.Errorf("got %v, want %v", err, errBadRollup)
			}
			return
		}
		again, got, err := readRollup(appendRollup(nil, kind, hours))
		if err != nil || again != kind || !slices.EqualFunc(got, hours, nearSum) {
			t.Errorf("%v\ngot  %v\nwant %v", err, got, hours)
		}
	})
}

func TestBins(t *testing.T) {
	for v := int64(1); v < 1<<50; v += 1 + v/97 {
		fine, coarse := fineBin(v), coarseBin(v)
		if low, high := coarseLow(coarse), coarseHigh(coarse); v < low || v > high {
			t.Fatalf("%d: its bin is %d to %d", v, low, high)
		}
		if got := fineMiddle(fine) / float64(v); got < 0.9899 || got > 1.0101 {
			t.Fatalf("%d is taken for %.4g times as much", v, got)
		}
		if got := fineMiddle(coarse*perCoarse+perCoarse/2) / float64(v); got < 0.951 || got > 1.051 {
			t.Fatalf("%d of a roll-up is taken for %.4g times as much", v, got)
		}
	}
	for _, v := range []int64{-1 << 60, 0, 1, 2, 3, maxSketched, 1 << 62} {
		if bin := coarseBin(v); bin < 0 || bin >= maxCoarse {
			t.Errorf("%d: got bin %d", v, bin)
		}
	}
}
