package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

// tortureRaw ends neither with an hour nor with a slot of the matrix: between the
// last result of tortureBase and those that torture saves, nothing becomes too old.
// Whether the writer gets to drop it, and to roll it up before, is a matter of luck.
const tortureRaw = 6*time.Hour + 33*time.Minute + 30*time.Second

// tortureBase makes a database with something in every table. With a log, it is
// left as a kill leaves it.
func tortureBase(t *testing.T, path string, log bool) {
	t.Helper()
	w := stopped(t, Options{Path: path + ".made", Raw: tortureRaw, Now: func() time.Time { return epoch }, Records: records})
	for n := range 30 {
		w.admitted[node(n+1)] = true
		w.do(t, func(ctx context.Context, c *commit) error {
			row := rowOfNode(core.Node{ID: node(n + 1), FQDN: fmt.Sprintf("n%d.example", n), Endpoints: []core.Endpoint{{Host: "a", Port: 1}}})
			_, err := c.tx.NewInsert().Model(&row).Exec(ctx)
			return err
		})
	}
	w.do(t, func(ctx context.Context, c *commit) error {
		for _, row := range []any{&cursorRow{Reporter: "a", Wants: "result event"}, &pluginRow{Name: "path", Problem: "none"}, &reportRow{Node: node(1).String(), Body: []byte("body")}} {
			if _, err := c.tx.NewInsert().Model(row).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	begin := epoch.Add(-50 * time.Hour)
	for hour := range 50 {
		at := begin.Add(time.Duration(hour) * time.Hour)
		rs := make([]core.Result, 600)
		for i := range rs {
			rs[i] = result(i%30+1, 0, at.Add(time.Duration(i)*6*time.Second), time.Duration(1+rand.IntN(1000))*time.Microsecond)
			rs[i].Metrics = []core.Metric{{Name: "loss_ratio", Value: float64(rand.IntN(20)) / 20}}
		}
		rs[0].Documents = []core.Document{{Name: "hops", ID: fmt.Sprint(hour), JSON: fmt.Appendf(nil, `{"hour":%d}`, hour)}}
		w.save(t, rs...)
		w.do(t, func(ctx context.Context, c *commit) error { return c.saveViews(ctx, tortureViews(at.Add(time.Hour))) })
		must(t, w.commit(t.Context(), []*request{{events: []core.Event{{Kind: core.EventNodeState, Subject: node(hour%30 + 1).String(), Began: at, Ended: at.Add(time.Minute)}}}}))
		w.settle(t, at.Add(time.Hour))
	}
	if log {
		must(t, drain(w.db.QueryContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)")))
		w.save(t, result(1, 0, epoch, time.Millisecond), result(2, 0, epoch, time.Millisecond))
		w.do(t, func(ctx context.Context, c *commit) error { return c.saveViews(ctx, tortureViews(epoch)) })
		w.save(t, result(1, 0, epoch.Add(time.Millisecond), time.Millisecond), result(2, 0, epoch.Add(time.Millisecond), time.Millisecond))
		copyFiles(t, path+".made", path)
	}
	must(t, w.s.reader.Close())
	must(t, w.s.writer.Close())
	w.s.db.closed()
	must(t, w.s.lock.Close())
	if !log {
		copyFiles(t, path+".made", path)
	}
}

func (w *writer) do(t *testing.T, do func(context.Context, *commit) error) {
	t.Helper()
	must(t, w.commit(t.Context(), []*request{{do: do}}))
}

// tortureViews are rows of the matrix that change from time to time.
func tortureViews(at time.Time) map[core.NodeID]view {
	views := map[core.NodeID]view{}
	for a := 1; a <= 5; a++ {
		var pairs []core.PathStatus
		for b := range 30 {
			if a != b {
				pairs = append(pairs, tells(a, b, time.Duration(1+rand.IntN(3))*time.Millisecond, at))
			}
		}
		views[node(a)] = view{at: at, pairs: soundPairs(node(a), pairs, "https", at)}
	}
	return views
}

// copyFiles copies a database with what is beside it.
func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	for _, part := range parts {
		if _, err := os.Stat(from + part); err == nil {
			copyFile(t, from+part, to+part)
		}
	}
}

// truth is all that can be asked for, one value by what it is the value of. How it
// is stored does not matter.
func truth(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	add := func(query string, keys int, what string) {
		rows, err := s.reader.DB.QueryContext(t.Context(), query)
		must(t, err)
		defer rows.Close()
		columns, err := rows.Columns()
		must(t, err)
		values, at := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			at[i] = &values[i]
		}
		for rows.Next() {
			must(t, rows.Scan(at...))
			all[fmt.Sprint(what, values[:keys])] = fmt.Sprint(values[keys:])
		}
		must(t, rows.Err())
	}
	add("SELECT node_id, probe, ts_ms, outcome, reason, message, rtt_us, at FROM poll_results", 3, "run")
	add("SELECT node_id, probe, metric, ts_ms, value FROM metric_results", 4, "value")
	add("SELECT s.node, s.probe, l.ts_ms, l.rtt_us, l.outcome, l.reason, l.message, l.metrics FROM latest l JOIN series s ON s.id = l.series_id", 2, "latest")
	for table, keys := range map[string]int{"node": 1, "event": 1, "plugin": 1, "outbox": 1, "cursors": 1, "report": 2, "pair_latest": 1, "document": 1} {
		add("SELECT * FROM "+table, keys, table)
	}
	rows, err := s.reader.DB.QueryContext(t.Context(), "SELECT u.id >> 20, node, probe, metric, data FROM rollup u JOIN series s ON s.id = u.id & 1048575")
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var day int64
		var node, probe, metric string
		var data []byte
		must(t, rows.Scan(&day, &node, &probe, &metric, &data))
		_, hours, err := readRollup(data)
		must(t, err)
		for _, h := range hours {
			all[fmt.Sprint("sum", node, probe, metric, day, h.hour)] = fmt.Sprint(h)
		}
	}
	must(t, rows.Err())
	// A writer that begins anew may have another RTT in the last ten minutes, as told.
	for at := epoch.Add(-7 * time.Hour); at.Before(epoch); at = at.Add(30 * time.Minute) {
		paths, err := pathsOf(t.Context(), s, core.MatrixQuery{At: at})
		must(t, err)
		for _, p := range paths {
			if p.Source != node(0) {
				all[fmt.Sprint("past", at, p.Source, p.Destination, p.Probe)] = said(p)
			}
		}
	}
	return all
}

// allSums is the truth with every hour rolled up that ever will be: a writer that
// begins anew may do that earlier.
func allSums(t *testing.T, base string) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	copyFiles(t, base, path)
	w := stopped(t, Options{Path: path, Raw: time.Hour, Now: func() time.Time { return epoch }})
	w.settle(t, epoch)
	return truth(t, w.s)
}

// values are those that may be, by what they are the values of.
type values map[string][]string

func (v values) add(said map[string]string) {
	for k, x := range said {
		v[k] = append(slices.Clip(v[k]), x)
	}
}

// before is all values that there were while the log was written: what is left of
// it is one of these states.
func before(t *testing.T, base string) values {
	t.Helper()
	all := values{}
	for at := int64(0); at <= fileSize(base+"-wal"); at = max(logHead, at) + frameSize {
		path := filepath.Join(t.TempDir(), "nodeprobe.db")
		copyFile(t, base, path)
		copyFile(t, base+"-wal", path+"-wal")
		must(t, os.Truncate(path+"-wal", at))
		s := open(t, Options{Path: path, first: time.Hour})
		all.add(truth(t, s))
		must(t, s.Close())
	}
	return all
}

// difference counts values that are others than they should be, or were before,
// and that are gone.
func difference(want map[string]string, before values, got map[string]string) (wrong, lost int, example string) {
	for k, v := range got {
		if w, ok := want[k]; (!ok || w != v) && !slices.Contains(before[k], v) {
			wrong++
			example = fmt.Sprintf("%s: got %s, want %s", k, v, w)
		}
	}
	for k := range want {
		if _, ok := got[k]; !ok {
			lost++
			example = cmp.Or(example, k+" is gone")
		}
	}
	return wrong, lost, example
}

// damage is one bit that is another, or an end that is missing.
func damage(t *testing.T, path string, truncate bool) (what string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	at := rand.IntN(len(b))
	if truncate {
		must(t, os.Truncate(path, int64(at)))
		return fmt.Sprintf("%s truncated to %d of %d", filepath.Ext(path), at, len(b))
	}
	bit := byte(1) << rand.IntN(8)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{b[at] ^ bit}, int64(at))
	must(t, err)
	must(t, f.Close())
	return fmt.Sprintf("%s bit %08b at %d, page %d", filepath.Ext(path), bit, at, at/pageSize)
}

// askEverything does what a node does; what it says does not matter here.
func askEverything(s *Store) {
	ctx := context.Background()
	for n := range 4 {
		for _, step := range []time.Duration{time.Minute, time.Hour} {
			for _, metric := range []string{"", "loss_ratio"} {
				_, _ = s.History(ctx, core.HistoryQuery{
					Node: node(n + 1), Probe: "https", Metric: metric, From: epoch.Add(-60 * step), To: epoch, Step: step,
				})
			}
		}
	}
	_, _ = s.Percentiles(ctx, core.WindowQuery{Probe: "https", From: epoch.Add(-50 * time.Hour), To: epoch})
	_, _ = pathsOf(ctx, s, core.MatrixQuery{})
	_, _ = s.Nodes(ctx)
	_, _ = s.Events(ctx, core.EventQuery{})
	_, _ = s.Reports(ctx)
	_, _ = s.Plugins(ctx)
	_, _ = s.Pending(ctx, "a", 100, 1<<20)
	_, _ = s.Stats(ctx)
}

// TestTortureFile flips bits and cuts files, at rest and in use, of a database and
// of the log that a kill has left beside it. Whatever it is, the store opens,
// answers and stores. No value is another one afterwards, and none is gone without
// that being told.
func TestTortureFile(t *testing.T) {
	dir := t.TempDir()
	var told, same, wrong, silent, lost int
	n := times(6, 200)
	for i, base := range []string{filepath.Join(dir, "whole"), filepath.Join(dir, "log")} {
		tortureBase(t, base, i == 1)
	}
	logged := before(t, filepath.Join(dir, "log"))
	want, was := map[string]map[string]string{}, map[string]values{}
	for i := range n {
		base, part := filepath.Join(dir, "whole"), ""
		if i%2 == 1 {
			base, part = filepath.Join(dir, "log"), []string{"", "-wal", "-wal", "-wal", "-shm"}[i/2%5]
		}
		inUse, truncate := i/2%3 == 0 && part != "-shm", i/2%4 == 1
		kind := fmt.Sprint(base, inUse)
		if want[kind] == nil {
			want[kind], _ = torture(t, base, inUse, func(string) {})
			if was[kind] = (values{}); i%2 == 1 {
				maps.Copy(was[kind], logged)
			}
			was[kind].add(allSums(t, base))
		}
		var what string
		got, log := torture(t, base, inUse, func(path string) { what = damage(t, path+part, truncate) })
		if wrongs, losts, example := difference(want[kind], was[kind], got); log != "" {
			told++
			lost += losts
			if wrongs > 0 {
				wrong++
				t.Errorf("%s, in use %t: told %q, but %d values are others: %s", what, inUse, log, wrongs, example)
			}
		} else if wrongs+losts == 0 {
			same++
		} else {
			silent++
			t.Errorf("%s, in use %t: %d values are others and %d gone, and nothing is told: %s", what, inUse, wrongs, losts, example)
		}
	}
	t.Logf("%d damages: %d told, %d without effect, %d told with wrong values, %d not told; values that were lost, and told: %d", n, told, same, wrong, silent, lost)
}

// torture damages a copy, and returns what there is to ask for afterwards and what
// was told.
func torture(t *testing.T, base string, inUse bool, damage func(path string)) (truthAfter map[string]string, told string) {
	t.Helper()
	path := filepath.Join(filepath.Dir(base), "use", "nodeprobe.db")
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	defer os.RemoveAll(filepath.Dir(path))
	copyFiles(t, base, path)
	must(t, makeBallast(path))
	var log bytes.Buffer
	o := Options{Path: path, Self: node(0), Raw: tortureRaw, every: time.Millisecond, Log: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn})}
	o.Now = func() time.Time { return epoch }
	if inUse {
		s, err := Open(t.Context(), o)
		must(t, err)
		damage(path)
		askEverything(s)
		must(t, eventuallySaved(s, 1000))
		askEverything(s)
		must(t, s.Close())
	} else {
		damage(path)
	}
	o.first = time.Hour
	s, err := Open(t.Context(), o)
	must(t, err)
	truthAfter = truth(t, s)
	askEverything(s)
	must(t, eventuallySaved(s, 2000))
	must(t, s.Close())
	return truthAfter, log.String()
}

// eventuallySaved saves as the engine does: what fails is tried again.
func eventuallySaved(s *Store, n int) (err error) {
	r := result(n%30+1, uint64(n), epoch.Add(time.Duration(n)*time.Millisecond), time.Millisecond)
	for range 100 {
		if err = s.SaveResults(context.Background(), []core.Result{r}); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}
