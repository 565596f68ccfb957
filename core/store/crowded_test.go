package store

import (
	"context"
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

var (
	crowdHours = flag.Int("crowd.hours", 22, "hours that TestCrowded simulates, from six in the evening")
	crowdPeers = flag.Int("crowd.peers", 7, "peers that TestCrowded simulates")
	crowdStep  = flag.Duration("crowd.step", 10*time.Minute, "how much TestCrowded commits at once")
	crowdBytes = flag.Int64("crowd.max-bytes", minMaxBytes, "limit of the database in TestCrowded")
)

// age makes a mesh that began at six in the evening of yesterday one of many days:
// each has the hourly sums of that evening, four times over. They are written in
// the order of time, as they would be.
func (m *mesh) age(t testing.TB, days int64) {
	t.Helper()
	first := m.begin.UnixMilli() / hourMS / dayHours
	var rows []rollupRow
	must(t, m.w.db.NewSelect().Model(&rows).Where("id BETWEEN ? AND ?", first<<seriesBits, first<<seriesBits|maxSeries).Order("id").Scan(t.Context()))
	if int64(len(rows)) < m.w.paths.lastID*9/10 { // what is seldom told has none
		t.Fatalf("%d of %d series have sums of the first day", len(rows), m.w.paths.lastID)
	}
	for i := range rows {
		kind, evening, err := readRollup(rows[i].Data)
		must(t, err)
		var day []hourSum
		for hour := range dayHours {
			for _, h := range evening {
				if h.hour >= 18 && h.hour%6 == hour%6 {
					h.hour = hour
					day = append(day, h)
				}
			}
		}
		rows[i].Data = appendRollup(nil, kind, day)
	}
	_, err := m.w.db.NewDelete().Model((*rollupRow)(nil)).Where("id < ?", (first+1)<<seriesBits).Exec(t.Context())
	must(t, err)
	m.w.rollups = size{}
	for day := first - days; day <= first; day++ {
		for part := range slices.Chunk(rows, 1000) {
			m.do(t, &request{do: func(ctx context.Context, c *commit) error {
				part = slices.Clone(part)
				for i := range part {
					part[i].ID += (day - first) << seriesBits
				}
				c.onSuccess(func() { c.w.rollups = c.w.rollups.plus(c.w.rowSizes.ofRollups(part)) })
				return c.w.s.db.insertRollups(ctx, c.tx, part)
			}})
			m.maintain(t)
		}
	}
}

// TestCrowded is a mesh that is too large for what its database may take, for
// some hours after a month: never more than the limit, what goes is the oldest of the
// single results and is told, what is left is complete, and as much as was
// estimated. As a rule it is a small one; "make bench-storage" takes 1,000 peers.
func TestCrowded(t *testing.T) {
	told := uint64(0)
	w := stopped(t, Options{MaxBytes: *crowdBytes, Dropped: func(d Drop) {
		if told += uint64(d.Rows); d.Kind != core.DropRaw {
			t.Logf("dropped: %+v", d)
		}
	}})
	_, err := w.db.Exec("PRAGMA synchronous=OFF") // no power is lost here
	must(t, err)
	m := newMesh(t, w, *crowdPeers, time.Date(2026, 11, 1, 18, 0, 0, 0, time.UTC))
	want := Estimate(*crowdPeers, simIntervals, w.s.o)
	raw, rollup := want.Raw*100, want.Rollup*100 // the shortest, once there is a month
	for hour := range *crowdHours {
		for range time.Hour / *crowdStep {
			m.pass(t, *crowdStep)
		}
		if hour%3 == 0 {
			m.hourly(t, *crowdPeers, simProbes...)
		}
		if hour == 6 {
			m.age(t, int64(want.Rollup/(24*time.Hour))+1)
		}
		st := w.s.stats
		if hour > 6 && st.DroppedForSize > 0 {
			raw, rollup = min(raw, m.now.Sub(st.Oldest)), min(rollup, m.now.Sub(st.OldestRollup))
		}
		if hour%4 == 3 {
			t.Logf("hour %d: %d bytes used, %+v, raw %s, sums %s, dropped %d, forecast %+v", hour+1, w.used, st.Space,
				m.now.Sub(st.Oldest).Round(time.Minute), m.now.Sub(st.OldestRollup).Round(time.Hour), st.DroppedForSize, st.Forecast)
		}
	}
	st := w.s.stats
	if m.worst > *crowdBytes || told == 0 || told != st.DroppedForSize || st.Dropped.Kind != core.DropRaw {
		t.Errorf("file and WAL: %d bytes; %d rows told of %d dropped, at last %s; want at most %d bytes, %s dropped and told",
			m.worst, told, st.DroppedForSize, st.Dropped.Kind, *crowdBytes, core.DropRaw)
	}
	if raw < want.Raw*8/10 || rollup < want.Rollup {
		t.Errorf("kept at least %s and %s, want %s and %s as estimated", raw, rollup, want.Raw, want.Rollup)
	}
	from := st.Oldest.Truncate(time.Hour).Add(time.Hour) // some of the first one may be gone
	if got, want := m.rawRuns(t, from), m.countRuns(from); got != want {
		t.Errorf("got %d raw runs since %s, want %d", got, from, want)
	}
	hours, complete := m.completeHours(t, m.begin)
	if hours != complete {
		t.Errorf("%d of %d hours of a path are complete", complete, hours)
	}
	t.Logf("crowded: %d bytes at most, %d of the WAL; longest step %d us", m.worst, m.worstWAL, m.longest.Microseconds())
	t.Logf("crowded: raw %.2f of %.2f h, sums %.2f of %.2f d", raw.Hours(), want.Raw.Hours(), rollup.Hours()/24, want.Rollup.Hours()/24)
}
