package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// exported is a database with two days of a small mesh, and a reader of it beside
// the open store.
func exported(t *testing.T) (*mesh, *Reader) {
	w := stopped(t, Options{})
	_, err := w.db.Exec("PRAGMA synchronous=OFF")
	must(t, err)
	m := newMesh(t, w, 2, epoch)
	for range 24 * 6 {
		m.pass(t, 10*time.Minute)
	}
	m.hourly(t, 2, "https")
	m.pass(t, 9*time.Minute) // some of it is in the tail
	return m, openReader(t, w.s.o.Path)
}

func openReader(t *testing.T, path string) *Reader {
	t.Helper()
	r, err := OpenReader(t.Context(), Options{Path: path})
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r
}

func TestExport(t *testing.T) {
	m, r := exported(t)
	t.Run("results", func(t *testing.T) { testExportResults(t, m, r) })
	t.Run("sums", func(t *testing.T) { testExportSums(t, m, r) })
	t.Run("others", func(t *testing.T) { testExportOthers(t, m, r) })
}

func testExportResults(t *testing.T, m *mesh, r *Reader) {
	count := func(q ExportQuery) (n, metrics, failed int) {
		var last int64
		q.Progress = func(done, total int64) {
			if done < last || done > total {
				t.Errorf("progress: %d after %d, of %d", done, last, total)
			}
			last = done
		}
		must(t, r.Results(t.Context(), q, func(x ResultRow) error {
			n, metrics = n+1, metrics+len(x.Metrics)
			if x.Outcome == core.OutcomeFailure {
				failed++
				if x.Reason == "" || x.Message == "" || x.RTT != 0 {
					t.Errorf("a failure without words: %+v", x)
				}
			}
			if x.Name != fmt.Sprintf("node%s.mesh.example", nameOf(x.Node)) {
				t.Errorf("got name %q of %s", x.Name, x.Node)
			}
			return nil
		}))
		return n, metrics, failed
	}
	for _, tt := range []struct {
		q     ExportQuery
		where string
	}{
		{ExportQuery{}, "1 = 1"},
		{ExportQuery{Node: node(2).String()}, "node_id = '" + node(2).String() + "'"},
		{ExportQuery{Probe: "stamp"}, "probe = 'stamp'"},
		{
			ExportQuery{From: m.now.Add(-90 * time.Minute), To: m.now.Add(-3 * time.Minute)},
			fmt.Sprintf("ts_ms >= %d AND ts_ms < %d", m.now.Add(-90*time.Minute).UnixMilli(), m.now.Add(-3*time.Minute).UnixMilli()),
		},
		{ExportQuery{Node: node(9).String()}, "1 = 0"},
	} {
		var want, failed, metrics int
		must(t, m.w.s.reader.QueryRow("SELECT COUNT(*), COALESCE(SUM(outcome = 'failure'), 0) FROM poll_results WHERE "+tt.where).Scan(&want, &failed))
		must(t, m.w.s.reader.QueryRow("SELECT COUNT(*) FROM metric_results WHERE "+tt.where).Scan(&metrics))
		n, gotMetrics, gotFailed := count(tt.q)
		if n != want || gotMetrics != metrics || gotFailed != failed {
			t.Errorf("%s: got %d runs, %d metrics, %d failures, want %d, %d, %d", tt.where, n, gotMetrics, gotFailed, want, metrics, failed)
		}
	}
	if n, _, _ := count(ExportQuery{}); n < 8000 {
		t.Errorf("got %d runs in all", n)
	}
	full := errors.New("full")
	if err := r.Results(t.Context(), ExportQuery{}, func(ResultRow) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v, want the error of who takes the rows", err)
	}
}

func testExportSums(t *testing.T, m *mesh, r *Reader) {
	runs := map[pathKey]int64{}
	must(t, r.Sums(t.Context(), ExportQuery{}, func(x SumRow) error {
		if x.Metric == "" {
			runs[pathKey{x.Node, x.Probe}] += x.Runs
			if x.Values > 0 && (x.Min > x.P50*1.05 || x.P50 > x.P90 || x.P90 > x.P99 || x.P99 > x.Max) {
				t.Errorf("got %+v", x)
			}
		}
		return nil
	}))
	end := m.now.Truncate(24 * time.Hour)
	want := map[pathKey]int64{}
	for k, hours := range m.runs {
		for i, n := range hours {
			if epoch.Add(time.Duration(i) * time.Hour).Before(end) {
				want[k] += int64(n)
			}
		}
	}
	if !maps.Equal(runs, want) || len(want) != 2*len(simProbes) {
		t.Errorf("got %v, want %v", runs, want)
	}
}

func testExportOthers(t *testing.T, m *mesh, r *Reader) {
	var events int
	must(t, r.Events(t.Context(), ExportQuery{}, func(e core.Event) error { events++; return nil }))
	nodes, err := r.Nodes(t.Context())
	must(t, err)
	if events != 1 || len(nodes) != 2 {
		t.Errorf("got %d events, %d nodes, want 1, 2", events, len(nodes))
	}
	st, err := r.Stats(t.Context())
	must(t, err)
	m.w.tell(t.Context())
	want := m.w.s.stats
	if st.Rows != want.Rows || st.Oldest != want.Oldest || st.OldestRollup != want.OldestRollup || st.Space.Raw != want.Space.Raw ||
		st.Space.Rollup != want.Space.Rollup || st.Space.Tail != want.Space.Tail || st.Forecast.RawPerDay != want.Forecast.RawPerDay {
		t.Errorf("got %+v, want %+v", st, want)
	}
	if st.Forecast.Raw != 24*time.Hour || st.Forecast.Rollup != 30*24*time.Hour {
		t.Errorf("got %+v, want room for all", st.Forecast)
	}
}

// What is exported of the matrix, played, is the matrix.
func TestExportMatrix(t *testing.T) {
	m, _ := sizeOfSlots(t, 4, 90, Options{})
	r := openReader(t, m.w.s.o.Path)
	last := map[string]string{}
	must(t, r.Matrix(t.Context(), ExportQuery{Probe: "https"}, func(p core.PathStatus) error {
		last[nameOf(p.Source)+">"+nameOf(p.Destination)] = said(p)
		return nil
	}))
	want := map[string]string{}
	paths, err := pathsOf(t.Context(), m.w.s, core.MatrixQuery{At: m.now})
	must(t, err)
	for _, p := range paths {
		if p.Probe == "https" && p.Source != node(0) {
			want[nameOf(p.Source)+">"+nameOf(p.Destination)] = said(p)
		}
	}
	if !maps.Equal(last, want) || len(want) != 12 {
		t.Errorf("got %v, want %v", last, want)
	}
	var some int
	must(t, r.Matrix(t.Context(), ExportQuery{Node: node(1).String()}, func(p core.PathStatus) error {
		if some++; p.Source != node(1) && p.Destination != node(1) {
			t.Errorf("got %+v", p)
		}
		return nil
	}))
	if some == 0 {
		t.Error("nothing of one node")
	}
}

// A node that gets its number during an export is exported under its own name.
func TestExportMatrixMeetsNewNode(t *testing.T) {
	m := newTeller(t, 3, Options{})
	tell := func(source int) {
		m.pass(t, []core.PathStatus{tells(source, 2, time.Duration(m.now.Unix()/600%3)*time.Millisecond, m.now)})
	}
	for range frameRows {
		tell(1)
	}
	r := openReader(t, m.w.s.o.Path)
	seen := map[core.NodeID]bool{}
	must(t, r.Matrix(t.Context(), ExportQuery{}, func(p core.PathStatus) error {
		if len(seen) == 0 {
			tell(3)
		}
		seen[p.Source] = true
		return nil
	}))
	if !seen[node(3)] || seen[core.NodeID{}] {
		t.Errorf("got rows of %v, want those of node 3, and none of no node", slices.Collect(maps.Keys(seen)))
	}
}

// A reader sees a node's database while it is written and after it was closed,
// holds nothing up, and cannot write.
func TestReaderBesideWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s, err := Open(t.Context(), Options{Path: path, Self: node(0)})
	must(t, err)
	r := openReader(t, path)
	var seen int
	must(t, s.SaveResults(t.Context(), []core.Result{result(1, 1, epoch, time.Millisecond)}))
	must(t, r.Results(t.Context(), ExportQuery{}, func(ResultRow) error {
		seen++
		// Whoever takes the rows may be slow: the log is not pinned meanwhile.
		must(t, s.SaveResults(t.Context(), []core.Result{result(1, 2, epoch.Add(time.Second), time.Millisecond)}))
		var busy, inLog, played int
		must(t, s.writer.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &inLog, &played))
		if busy != 0 || inLog != 0 {
			t.Errorf("checkpoint: busy %d, %d pages left", busy, inLog)
		}
		return nil
	}))
	if _, err := r.s.reader.Exec("DELETE FROM tail"); err == nil {
		t.Error("a reader can write")
	}
	must(t, s.Close())
	must(t, r.Results(t.Context(), ExportQuery{}, func(ResultRow) error { seen++; return nil }))
	if seen != 3 {
		t.Errorf("got %d rows, want 1 and 2", seen)
	}
	later, err := OpenReader(t.Context(), Options{Path: path})
	must(t, err)
	st, err := later.Stats(t.Context())
	must(t, err)
	must(t, later.Close())
	if st.Rows != 2 {
		t.Errorf("got %d rows, want 2", st.Rows)
	}
}

// TestReaderSaysWhy: SQLite says "unable to open database file" or "disk I/O error".
func TestReaderSaysWhy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "nodeprobe.db")
	s := open(t, Options{Path: path})
	saveRuns(t, s, 1, 59)
	var root int64
	must(t, s.reader.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = 'event'").Scan(&root))
	must(t, s.Close())
	garble(t, path, root-1)
	r, err := OpenReader(t.Context(), Options{Path: path})
	must(t, err)
	err = r.Explain(r.Events(t.Context(), ExportQuery{}, func(core.Event) error { return nil }))
	must(t, r.Close())
	if want := fmt.Sprintf("page %d of %s is damaged", root, path); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err = OpenReader(t.Context(), Options{Path: dir}); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("of a directory: %v", err)
	}
	s = open(t, Options{Path: path})
	var told mishaps
	s.OnMishap(told.add)
	told.want(t, fmt.Sprintf("database is corrupt: page %d is damaged", root))
}

func TestReaderErrors(t *testing.T) {
	if _, err := OpenReader(t.Context(), Options{Path: filepath.Join(t.TempDir(), "no.db")}); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("got %v, want ErrNoDatabase", err)
	}
	if _, err := OpenReader(t.Context(), Options{Path: oldDatabase(t, "0001")}); !errors.Is(err, errOlderSchema) {
		t.Errorf("got %v, want errOlderSchema", err)
	}
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s, err := Open(t.Context(), Options{Path: path, Self: node(0)})
	must(t, err)
	_, err = s.writer.ExecContext(context.Background(), "INSERT INTO schema_migrations (name, group_id) VALUES ('9999', 1)")
	must(t, err)
	must(t, s.Close())
	if _, err := OpenReader(t.Context(), Options{Path: path}); !errors.Is(err, errNewerSchema) {
		t.Errorf("got %v, want errNewerSchema", err)
	}
}
