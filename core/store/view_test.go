package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// numbering numbering nodes in the order that they are asked for, but every third.
type numbering map[core.NodeID]int64

func (n numbering) of(id core.NodeID) int64 {
	if _, ok := n[id]; !ok {
		n[id] = int64(len(n)+1) * int64(min(1, len(n)%3))
	}
	return n[id]
}

func (n numbering) nodes() (nodes []numberedNode) {
	for id, number := range n {
		nodes = append(nodes, numberedNode{number, id})
	}
	slices.SortFunc(nodes, func(a, b numberedNode) int { return int(a.number - b.number) })
	return nodes
}

// unpacked is all pairs of a view.
func unpacked(source core.NodeID, nodes []numberedNode, b []byte) ([]core.PathStatus, error) {
	var row core.MatrixRow
	err := unpackView(&row, source, nodes, b, core.MatrixQuery{})
	return row.Paths, err
}

func FuzzUnpackView(f *testing.F) {
	p := pair(1, 2, epoch)
	p.Reason, p.Message, p.Metrics = "timeout", "no answer", []core.Metric{{Name: "loss_ratio", Value: 0.5}}
	known := numbering{}
	good := packView(soundPairs(node(1), []core.PathStatus{p, pair(1, 3, epoch), pair(1, 2, epoch.Add(-time.Minute))}, "https", epoch), known.of, maxPacked)
	nodes := known.nodes()
	number := func(id core.NodeID) int64 { return known[id] } // knows no others: they come whole
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add([]byte{})
	f.Add([]byte{viewVersion, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		pairs, err := unpacked(node(1), nodes, b)
		if err != nil {
			if !errors.Is(err, errBadView) {
				t.Errorf("got %v, want %v", err, errBadView)
			}
			return
		}
		if len(pairs) > maxPairs {
			t.Errorf("got %d pairs, want at most %d", len(pairs), maxPairs)
		}
		again, err := unpacked(node(1), nodes, packPairs(pairs, number))
		if err != nil || len(again) != len(pairs) {
			t.Errorf("packed again: got %d pairs, %v, want %d", len(again), err, len(pairs))
		}
		for _, p := range pairs {
			if p.Source != node(1) {
				t.Errorf("got source %v", p.Source)
			}
		}
	})
}

func FuzzUnpackReport(f *testing.F) {
	good, _, err := packReport(core.Report{Node: node(1), Received: epoch, Paths: []core.PathStatus{pair(1, 2, epoch)}})
	must(f, err)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := unpackReport(b); err != nil && !errors.Is(err, errBadReport) {
			t.Errorf("got %v, want %v", err, errBadReport)
		}
	})
}

func FuzzDecodeMetrics(f *testing.F) {
	f.Add(encodeMetrics([]core.Metric{{Name: "a\"\\b", Value: -1.5e-9}, {Name: "c", Value: 1e300}}))
	f.Fuzz(func(t *testing.T, s string) {
		ms := decodeMetrics(s)
		again := decodeMetrics(encodeMetrics(ms))
		if len(again) != len(ms) {
			t.Errorf("got %v, want %v", again, ms)
		}
	})
}

// What a view has is there again, but for metrics to six digits and times to a
// second; so is a destination that has no number, but not one whose number nobody
// knows any more.
func TestPackedView(t *testing.T) {
	var said []core.PathStatus
	for d := range 20 {
		p := pair(1, d+2, epoch.Add(-time.Duration(d)*time.Second))
		p.RTT = time.Duration(d*d) * time.Millisecond
		said = append(said, p)
		p.Probe, p.Metrics = "stamp", []core.Metric{{Name: "loss_ratio", Value: 0.25 * float64(d%3)}, {Name: "pmtu_bytes", Value: 1500}}
		if d%4 == 0 {
			p.Outcome, p.Reason, p.Message, p.Metrics = core.OutcomeFailure, "timeout", "no answer", p.Metrics[1:]
		}
		said = append(said, p)
	}
	known := numbering{}
	packed := packView(soundPairs(node(1), said, "https", epoch), known.of, maxPacked)
	got, err := unpacked(node(1), known.nodes(), packed)
	must(t, err)
	comparePaths(t, got, slices.Clone(said))

	for id, n := range known {
		if n != 0 {
			delete(known, id)
		}
	}
	got, err = unpacked(node(1), known.nodes(), packed)
	must(t, err)
	comparePaths(t, got, slices.DeleteFunc(said, func(p core.PathStatus) bool { _, ok := known[p.Destination]; return !ok }))
}

// A mesh of 1,000 nodes must leave room for the history.
func TestPackedViewIsSmall(t *testing.T) {
	var said []core.PathStatus
	rng := rand.New(rand.NewPCG(1, 2))
	for d := range maxPairs / 2 {
		for probe, every := range map[string]time.Duration{"https": 30 * time.Second, "stamp": time.Minute} {
			p := newSimPath(rng, d+2, probe, every, simBase(rng)).next(epoch, 0)
			said = append(said, core.PathStatus{
				Destination: node(d + 2), Probe: probe, Outcome: p.Outcome, Reason: p.Reason, Message: p.Message, RTT: p.RTT,
				At: epoch.Add(-rand.N(every)), Metrics: p.Metrics,
			})
		}
	}
	known := numbering{}
	for i := range said {
		known[said[i].Destination] = int64(i/2 + 1)
	}
	sound := soundPairs(node(1), said, "https", epoch)
	packed := packView(sound, known.of, maxPacked)
	bare := packView(sound, known.of, len(packed)-1)
	t.Logf("%.2f bytes a pair with metrics, %.2f without", float64(len(packed))/maxPairs, float64(len(bare))/maxPairs)
	if len(packed) > 8*maxPairs || len(bare) > 4*maxPairs {
		t.Errorf("got %d and %d bytes of %d pairs, want at most 8 and 4 a pair", len(packed), len(bare), maxPairs)
	}
	if !bytes.Equal(packed, packView(soundPairs(node(1), said, "https", epoch), known.of, maxPacked)) {
		t.Error("packing is not the same twice")
	}
}

// Peers that tell as much as they can must not take the room of the history.
func TestViewsHaveTheirShare(t *testing.T) {
	w := stopped(t, Options{MaxBytes: minMaxBytes, Now: func() time.Time { return epoch }})
	const peers = 40
	var nodes []core.Node
	for n := range peers {
		nodes = append(nodes, core.Node{ID: node(n + 1)})
		w.admitted[node(n+1)] = true
	}
	var said []core.PathStatus
	for i := range maxPairs {
		p := pair(1, 100+i, epoch)
		p.Probe, p.Reason = fmt.Sprintf("%0128d", i), core.Reason(fmt.Sprintf("%032d", i))
		said = append(said, p)
	}
	for _, n := range nodes {
		r := &request{done: make(chan error, 1), do: func(ctx context.Context, c *commit) error {
			return c.saveViews(ctx, map[core.NodeID]view{n.ID: {at: epoch, pairs: soundPairs(n.ID, said, "https", epoch)}})
		}}
		w.commitGroup([]*request{r})
		must(t, <-r.done)
	}
	var bytes, least int64
	must(t, w.db.NewSelect().Model((*viewRow)(nil)).ColumnExpr("SUM(LENGTH(packed)), MIN(LENGTH(packed))").Scan(t.Context(), &bytes, &least))
	if most := int64(minMaxBytes / viewShare); bytes > most || least < most/peers/2 {
		t.Errorf("got %d bytes, %d of one peer at least; want at most %d, in equal parts", bytes, least, most)
	}
	all, err := pathsOf(t.Context(), w.s, core.MatrixQuery{})
	if must(t, err); len(all) < peers {
		t.Errorf("got %d pairs, want some of each of %d peers", len(all), peers)
	}
}

// The probe that tells who is alive has all its pairs when there is no room for
// those of all probes, by their number or by their size.
func TestViewKeepsWhoIsAlive(t *testing.T) {
	var said []core.PathStatus
	for d := range maxPairs / 2 {
		for _, probe := range []string{"a", "poll", "z"} {
			p := pair(1, d+2, epoch)
			p.Probe, p.RTT = probe, time.Duration(d)*time.Millisecond
			p.Metrics = []core.Metric{{Name: "loss_ratio", Value: float64(d%100) / 1000}}
			said = append(said, p)
		}
	}
	count := func(pairs []core.PathStatus) map[string]int {
		of := map[string]int{}
		for _, p := range pairs {
			of[p.Probe]++
		}
		return of
	}
	sound := soundPairs(node(1), said, "poll", epoch)
	if got := count(sound); got["poll"] != maxPairs/2 || got["a"] != maxPairs/2 || got["z"] != 0 {
		t.Errorf("by number: got %v", got)
	}
	known := numbering{}
	for i := range maxPairs / 2 {
		known[node(i+2)] = int64(i + 1)
	}
	packed := packView(sound, known.of, 2*maxPairs)
	got, err := unpacked(node(1), known.nodes(), packed)
	must(t, err)
	if n := count(got); len(packed) > 2*maxPairs || n["poll"] != maxPairs/2 || n["a"] == 0 || n["a"] == maxPairs/2 {
		t.Errorf("by size: got %v in %d bytes", n, len(packed))
	}
}

// A row as it is asked for is that of all probes without the others, now and then.
func TestMatrixOfOneProbe(t *testing.T) {
	m := newTeller(t, 3, Options{})
	m.w.save(t, failure(2, 2, m.now, core.OutcomeFailure, "timeout", "no answer")) // of https
	r := result(2, 3, m.now, time.Millisecond)
	r.Job.Probe = "stamp"
	m.w.save(t, r)
	for step := range 4 {
		var rows [][]core.PathStatus
		for a := 1; a <= 3; a++ {
			var row []core.PathStatus
			for b := range 4 {
				for _, probe := range []string{"https", "stamp"} {
					if a == b {
						continue
					}
					p := tells(a, b, time.Duration(1+a+b+step*10)*time.Millisecond, m.now)
					p.Probe = probe
					if probe == "stamp" && b != 2 {
						p.Metrics = []core.Metric{{Name: "jitter_seconds", Value: 0.25}, {Name: "loss_ratio", Value: 0.5}}
					}
					row = append(row, p)
				}
			}
			rows = append(rows, row)
		}
		m.pass(t, rows...)
	}
	for _, at := range []time.Time{{}, m.now, m.now.Add(-20 * time.Minute)} {
		all, err := pathsOf(t.Context(), m.w.s, core.MatrixQuery{At: at})
		must(t, err)
		for _, probe := range []string{"https", "stamp"} {
			want := slices.DeleteFunc(slices.Clone(all), func(p core.PathStatus) bool { return p.Probe != probe })
			for i := range want {
				want[i].Metrics = slices.DeleteFunc(slices.Clone(want[i].Metrics), func(m core.Metric) bool { return m.Name != "loss_ratio" })
			}
			rows, err := m.w.s.Matrix(t.Context(), core.MatrixQuery{At: at, Probe: probe, Metric: "loss_ratio"})
			must(t, err)
			var got []core.PathStatus
			for source, read := range rows {
				var row core.MatrixRow
				read(&row)
				got = append(got, row.Paths...)
				if source != node(0) && len(row.Probes) != 2 || at.IsZero() && source != node(0) && len(row.Metrics) != 2*number(probe == "stamp") {
					t.Errorf("%s at %s: got probes %v and metrics %v", probe, at, row.Probes, row.Metrics)
				}
			}
			if len(want) < 9 {
				t.Errorf("%s at %s: got %d paths of all", probe, at, len(want))
			}
			comparePaths(t, got, want)
		}
	}
}
