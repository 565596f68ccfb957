package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// TestSalvageMatrix garbles a page in the middle of what peers told, and the one
// of the newest names: nobody is said to have been other than they were, also when
// there are new nodes.
func TestSalvageMatrix(t *testing.T) {
	const peers, slots = 60, 60
	for _, table := range []string{"matrix_frame", "matrix_name"} {
		t.Run(table, func(t *testing.T) {
			path := t.TempDir() + "/nodeprobe.db"
			m := newTeller(t, peers, Options{Path: path})
			begin := m.now
			tell := func(slot, more int) {
				var rows [][]core.PathStatus
				for a := 1; a <= peers; a++ {
					rows = append(rows, []core.PathStatus{
						tells(a, a%peers+1, time.Millisecond<<((slot/2+a)%5), m.now),
						tells(a, (a+more)%200+1, time.Millisecond, m.now),
					})
				}
				m.pass(t, rows...)
			}
			for n := peers + 1; n <= 200; n++ {
				m.w.admitted[node(n)] = true
			}
			for slot := range slots {
				more := 2 // the same paths, so that only changes are written down
				if table == "matrix_name" {
					more += slot * 2
				}
				tell(slot, more)
			}
			was := make([]map[string]string, slots)
			for slot := range was {
				was[slot] = m.at(t, begin.Add(time.Duration(slot)*10*time.Minute+time.Minute))
			}
			page := "AVG(pageno)" // of the middle
			if table == "matrix_name" {
				page = "MAX(pageno)"
			}
			var leaf int64
			must(t, m.w.db.QueryRow(fmt.Sprintf("SELECT pageno FROM dbstat WHERE name = '%[1]s' AND pagetype = 'leaf' AND path <> '/' AND pageno >= "+
				"(SELECT %[2]s FROM dbstat WHERE name = '%[1]s' AND pagetype = 'leaf') ORDER BY pageno LIMIT 1", table, page)).Scan(&leaf))
			closeStopped(t, m.w)
			garble(t, path, leaf-1)

			m2 := &teller{w: stopped(t, Options{Path: path, Now: func() time.Time { return m.now }}), now: m.now}
			m2.w.s.o.Now = func() time.Time { return m2.now }
			for n := 1; n <= 400; n++ {
				m2.w.admitted[node(n)] = true
			}
			if m2.w.s.Recovered() == "" {
				t.Fatal("nothing was noticed")
			}
			m2.w.save(t, result(1, 1, m2.now, time.Millisecond))
			for n := 201; n <= 300; n += 2 {
				m2.pass(t, []core.PathStatus{tells(1, n, time.Millisecond, m2.now), tells(1, n+1, time.Millisecond, m2.now)})
			}
			kept, lost := 0, 0
			for slot, was := range was {
				got := m2.at(t, begin.Add(time.Duration(slot)*10*time.Minute+time.Minute))
				for k, v := range got {
					if was[k] != v {
						t.Fatalf("slot %d: %s is %q, and was %q", slot, k, v, was[k])
					}
				}
				kept, lost = kept+len(got), lost+len(was)-len(got)
			}
			if kept == 0 || lost == 0 {
				t.Errorf("%d paths are left and %d gone, want some of both", kept, lost)
			}
			t.Logf("%d paths are left, %d gone", kept, lost)
		})
	}
}

// TestSalvageCodes: a number whose words are lost is not given to other words.
func TestSalvageCodes(t *testing.T) {
	path := t.TempDir() + "/nodeprobe.db"
	w := stopped(t, Options{Path: path, Now: func() time.Time { return epoch.Add(time.Hour) }})
	message := func(n int) string { return fmt.Sprintf("%0100d", n) }
	for n := range 200 {
		w.save(t, failure(1, 0, epoch.Add(time.Duration(n)*time.Second), core.OutcomeFailure, "timeout", message(n)))
	}
	var leaf int64
	must(t, w.db.QueryRow("SELECT MAX(pageno) FROM dbstat WHERE name = 'code' AND pagetype = 'leaf' AND path <> '/'").Scan(&leaf))
	closeStopped(t, w)
	garble(t, path, leaf-1)
	w = stopped(t, Options{Path: path, Now: func() time.Time { return epoch.Add(time.Hour) }})
	for n := range 200 {
		w.save(t, failure(1, 0, epoch.Add(time.Hour+time.Duration(n)*time.Second), core.OutcomeFailure, "refused", message(1000+n)))
	}
	rows, err := w.s.reader.Query("SELECT (ts_ms - ?) / 1000, COALESCE(message, '') FROM poll_results WHERE ts_ms < ?", epoch.UnixMilli(), epoch.Add(time.Hour).UnixMilli())
	must(t, err)
	defer rows.Close()
	all, good := 0, 0
	for rows.Next() {
		var n int
		var said string
		must(t, rows.Scan(&n, &said))
		switch all++; said {
		case message(n):
			good++
		case "lost", "":
		default:
			t.Fatalf("result %d now has the words %q", n, said)
		}
	}
	if all != 200 || good == 0 || good == 200 {
		t.Errorf("%d results, %d with their words", all, good)
	}
}

// closeStopped closes the database of a stopped writer.
func closeStopped(t *testing.T, w *writer) {
	t.Helper()
	must(t, w.s.reader.Close())
	must(t, w.s.writer.Close())
	must(t, w.s.lock.Close())
}
