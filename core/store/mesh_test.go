package store

import (
	"container/heap"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

var (
	simDays  = flag.Int("sim.days", 3, "days that TestPromise simulates")
	simPeers = flag.Int("sim.peers", 4, "peers that TestPromise simulates")
	simStep  = flag.Duration("sim.step", 5*time.Minute, "how much TestPromise commits at once")
	simBytes = flag.Int64("sim.max-bytes", minMaxBytes, "limit of the database in TestPromise")
)

// simProbes run by default, simIntervals are theirs.
var (
	simProbes    = []string{"https", "pmtu", "stamp", "trace"}
	simIntervals = []time.Duration{30 * time.Second, 30 * time.Second, time.Minute, 10 * time.Minute}
)

// mesh is what a node stores that has peers with the probes that ship.
type mesh struct {
	w     *writer
	begin time.Time
	now   time.Time
	rng   *rand.Rand
	job   uint64
	due   meshHeap
	// runs and failures that were saved, by path and hour since begin.
	runs, failures map[pathKey][]int
	worst          int64 // bytes, file and WAL
	worstWAL       int64
	longest        time.Duration // step of maintenance
}

type meshTurn struct {
	p    *simPath
	next core.Result
}

type meshHeap []meshTurn

func (h meshHeap) Len() int           { return len(h) }
func (h meshHeap) Less(i, j int) bool { return h[i].next.Started.Before(h[j].next.Started) }
func (h meshHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *meshHeap) Push(x any)        { *h = append(*h, x.(meshTurn)) }
func (h *meshHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func newMesh(t testing.TB, w *writer, peers int, begin time.Time) *mesh {
	m := &mesh{
		w: w, begin: begin, now: begin, rng: rand.New(rand.NewPCG(1, 2)),
		runs: map[pathKey][]int{}, failures: map[pathKey][]int{},
	}
	w.s.o.Now = func() time.Time { return m.now }
	var nodes []core.Node
	for peer := 1; peer <= peers; peer++ {
		name := fmt.Sprintf("node%d.mesh.example", peer)
		nodes = append(nodes, core.Node{
			ID: node(peer), Key: core.KeyHash{1, byte(peer >> 8), byte(peer)}, Proven: true, FQDN: name, Version: "1.0.0",
			Endpoints: []core.Endpoint{{Host: name, Port: 443}, {Host: "2001:db8::1", Port: 443}}, State: core.StateAlive, FirstSeen: begin, LastSeen: begin,
		})
		base := simBase(m.rng)
		for i, probe := range simProbes {
			p := newSimPath(m.rng, peer, probe, simIntervals[i], base)
			first := p.next(begin, 0)
			if first.Started.Before(begin) {
				first = p.next(begin, 0)
			}
			m.due = append(m.due, meshTurn{p, first})
		}
	}
	heap.Init(&m.due)
	m.do(t, &request{do: func(ctx context.Context, c *commit) error {
		rows := make([]nodeRow, len(nodes))
		for i, n := range nodes {
			rows[i] = rowOfNode(n)
			c.w.admitted[n.ID] = true
		}
		_, err := c.tx.NewInsert().Model(&rows).Exec(ctx)
		return err
	}})
	return m
}

func (m *mesh) do(t testing.TB, r *request) {
	t.Helper()
	r.done = make(chan error, 1)
	m.w.commitGroup([]*request{r})
	must(t, <-r.done)
	m.sample()
}

func (m *mesh) sample() {
	wal := fileSize(m.w.s.o.Path + "-wal")
	m.worst = max(m.worst, fileSize(m.w.s.o.Path)+wal)
	m.worstWAL = max(m.worstWAL, wal)
}

// pass saves what the time brings, in one group, and maintains.
func (m *mesh) pass(t testing.TB, d time.Duration) {
	m.now = m.now.Add(d)
	var rs []core.Result
	for m.due[0].next.Started.Before(m.now) {
		turn := &m.due[0]
		m.job++
		turn.next.Job.ID = m.job
		rs = append(rs, turn.next)
		m.note(turn.p, &turn.next)
		turn.next = turn.p.next(m.begin, 0)
		heap.Fix(&m.due, 0)
	}
	for part := range slices.Chunk(rs, groupSize) {
		m.do(t, &request{results: part})
	}
	m.maintain(t)
}

func (m *mesh) maintain(t testing.TB) {
	t.Helper()
	for more := true; more; m.sample() {
		begin := time.Now()
		more = m.w.maintain(context.Background(), m.now)
		m.longest = max(m.longest, time.Since(begin))
	}
	must(t, m.w.s.fault)
}

func (m *mesh) note(p *simPath, r *core.Result) {
	k, hour := pathKey{node(p.peer), p.probe}, int(r.Started.Sub(m.begin)/time.Hour)
	for len(m.runs[k]) <= hour {
		m.runs[k], m.failures[k] = append(m.runs[k], 0), append(m.failures[k], 0)
	}
	m.runs[k][hour]++
	if r.Outcome == core.OutcomeFailure {
		m.failures[k][hour]++
	}
}

// hourly is what happens beside results: peers tell their rows of the matrix, and
// an event begins and ends.
func (m *mesh) hourly(t testing.TB, peers int, probes ...string) {
	views := map[core.NodeID]view{}
	for peer := 1; peer <= peers; peer++ {
		var said []core.PathStatus
		for d := 1; d <= peers; d++ {
			if d == peer {
				continue
			}
			base := float64(int64(300_000) << (peer * d % 9)) // ns
			for _, probe := range probes {
				p := pair(peer, d, m.now.Add(-time.Duration(m.rng.IntN(60_000))*time.Millisecond))
				p.Probe, p.RTT = probe, time.Duration(base*(1+0.1*m.rng.Float64()))
				said = append(said, p)
			}
		}
		views[node(peer)] = view{at: m.now, pairs: soundPairs(node(peer), said, "https", m.now)}
	}
	for part := range slices.Chunk(slices.Collect(maps.Keys(views)), 10) { // as they come in a second
		few := map[core.NodeID]view{}
		for _, id := range part {
			few[id] = views[id]
		}
		m.do(t, &request{do: func(ctx context.Context, c *commit) error { return c.saveViews(ctx, few) }})
	}
	at := m.now.Add(-time.Duration(m.rng.IntN(3600)) * time.Second)
	m.do(t, &request{events: []core.Event{{
		Kind: core.EventNodeState, Subject: node(1 + m.rng.IntN(peers)).String(), Message: "no answer for 3 polls: timeout", Began: at, Ended: at.Add(time.Minute),
	}}})
}

// check wants what is promised: the last raw day, and 30 days by the hour, complete.
func (m *mesh) check(t testing.TB) {
	from := m.begin
	if first := m.now.Truncate(time.Hour).Add(-30 * 24 * time.Hour); first.After(from) {
		from = first
	}
	hours, complete := m.completeHours(t, from)
	day := m.now.Add(-24 * time.Hour).Truncate(time.Hour)
	raw, want := m.rawRuns(t, day), m.countRuns(day)
	if hours != complete || raw != want {
		t.Errorf("%d of %d hours of a path are complete, %d of %d raw runs since %s are there", complete, hours, raw, want, day)
	}
	t.Logf("promise: %d bytes at most, %d of the WAL", m.worst, m.worstWAL)
	t.Logf("promise: %d of %d hours of a path, %d of %d raw runs since %s", complete, hours, raw, want, day.Format(time.RFC3339))
}

// completeHours counts the hours of all paths since from, and those of them in
// which all that was saved is there.
func (m *mesh) completeHours(t testing.TB, from time.Time) (hours, complete int) {
	for k, runs := range m.runs {
		got, err := m.w.s.History(t.Context(), core.HistoryQuery{Node: k.node, Probe: k.probe, From: from, To: m.now.Truncate(time.Hour), Step: time.Hour})
		must(t, err)
		first := int(from.Sub(m.begin) / time.Hour)
		for i, b := range got {
			if hours++; b.Runs == runs[first+i] && b.Failures == m.failures[k][first+i] {
				complete++
			}
		}
	}
	return hours, complete
}

// countRuns counts the runs that were saved since an hour's begin.
func (m *mesh) countRuns(since time.Time) (n int) {
	for _, runs := range m.runs {
		for _, k := range runs[int(since.Sub(m.begin)/time.Hour):] {
			n += k
		}
	}
	return n
}

// rawRuns counts single runs that began at at or later, an hour's begin.
func (m *mesh) rawRuns(t testing.TB, at time.Time) int {
	var packed, tail int
	must(t, m.w.s.reader.QueryRow("SELECT COALESCE(SUM(n), 0) FROM chunk JOIN series s ON s.id = chunk.id & 1048575 AND s.metric = ''"+
		" WHERE chunk.id >= ? << 20", at.UnixMilli()/hourMS).Scan(&packed))
	must(t, m.w.s.reader.QueryRow("SELECT COUNT(*) FROM tail JOIN series s ON s.id = series_id AND s.metric = '' WHERE ts_ms >= ?",
		at.UnixMilli()).Scan(&tail))
	return packed + tail
}

// TestPromise is 24 hours of single results and 30 days by the hour, of 100 peers
// and all probes that ship, within 10 MB at every moment. As a rule it is a small mesh for
// three days; "make bench-storage" takes the whole of it.
func TestPromise(t *testing.T) {
	w := stopped(t, Options{MaxBytes: *simBytes})
	_, err := w.db.Exec("PRAGMA synchronous=OFF") // no power is lost here
	must(t, err)
	m := newMesh(t, w, *simPeers, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	for hour := range *simDays * 24 {
		for range time.Hour / *simStep {
			m.pass(t, *simStep)
		}
		m.hourly(t, *simPeers, simProbes...)
		if hour%24 == 23 {
			st := w.s.stats
			t.Logf("day %d: %d bytes used, %+v, %d rows, %d bytes a day, room for %s", hour/24+1, w.used, st.Space, st.Rows, st.RawPerDay,
				st.RawFits.Round(time.Hour))
		}
	}
	if m.worst > *simBytes || w.s.stats.DroppedForSize > 0 {
		t.Errorf("file and WAL: %d bytes, %d rows dropped; want at most %d bytes, none", m.worst, w.s.stats.DroppedForSize, *simBytes)
	}
	m.check(t)
}
