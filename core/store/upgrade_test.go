package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// oldEnd is where what testdata has ends.
var oldEnd = time.UnixMilli(1795521600000)

// oldDatabase makes a database as the migrations through a number left it, with
// what testdata has for it: schema_0001.sql as such, from schema_0002.sql on all of
// them, each at its time.
func oldDatabase(t *testing.T, number string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "nodeprobe.db")
	writer, reader, err := openPools(t.Context(), path)
	must(t, err)
	files := fstest.MapFS{}
	names, err := fs.Glob(migrationFiles, "migrations/sqlite/*.sql")
	must(t, err)
	for _, name := range names {
		at := filepath.Base(name)[:4]
		if at > number {
			break
		}
		text, err := migrationFiles.ReadFile(name)
		must(t, err)
		files[name] = &fstest.MapFile{Data: text}
		must(t, migrateUp(t.Context(), writer, files, "migrations/sqlite"))
		if rows, err := os.ReadFile("testdata/schema_" + at + ".sql"); err == nil && (at == number || at > "0001") {
			_, err = writer.DB.Exec(string(rows))
			must(t, err)
		}
	}
	must(t, reader.Close())
	must(t, writer.Close())
	return path
}

// A database of every earlier schema opens with all that it holds, and after
// packing still has it.
func TestUpgrade(t *testing.T) {
	fixtures, err := filepath.Glob("testdata/schema_*.sql")
	must(t, err)
	migrations, err := fs.Glob(migrationFiles, "migrations/sqlite/*.sql")
	must(t, err)
	if len(fixtures) != len(migrations)-1 { // of each schema but the newest
		t.Fatalf("got databases of %d schemas, there are %d before the newest", len(fixtures), len(migrations)-1)
	}
	for _, f := range fixtures {
		number := strings.TrimSuffix(strings.TrimPrefix(f, "testdata/schema_"), ".sql")
		t.Run(number, func(t *testing.T) {
			path := oldDatabase(t, number)
			w := stopped(t, Options{Path: path, Now: func() time.Time { return oldEnd }})
			if has, err := hasSeals(path); !has || err != nil {
				t.Errorf("its pages have no check sums: %v", err)
			}
			checkUpgraded(t, w.s)
			checkSince(t, w.s, number)
			w.settle(t, oldEnd)
			if w.tailRows != 0 {
				t.Errorf("%d rows are not packed", w.tailRows)
			}
			checkUpgraded(t, w.s)
			checkSince(t, w.s, number)
		})
	}
}

// checkSince looks for what only later schemas have.
func checkSince(t *testing.T, s *Store, number string) {
	t.Helper()
	events, err := s.Events(t.Context(), core.EventQuery{})
	must(t, err)
	documents, err := s.Documents(t.Context(), core.DocumentQuery{Node: oldPeer(t, 1), Name: "hops"})
	must(t, err)
	if number >= "0003" && (len(events) != 2 || len(documents) != 1 || string(documents[0].JSON) != `{"hops":[1,2]}`) {
		t.Errorf("got %d events, documents %+v", len(events), documents)
	}
	if number < "0004" {
		return
	}
	slots := map[int64]string{2992530: "success  32", 2992531: "success  32"}
	if number >= "0005" { // another RTT is told when it has lasted
		slots[2992531], slots[2992532] = "success  40", "success  40"
	}
	for slot, want := range slots {
		paths, err := pathsOf(t.Context(), s, core.MatrixQuery{At: time.UnixMilli(slot*slotMS + 1)})
		must(t, err)
		paths = slices.DeleteFunc(paths, func(p core.PathStatus) bool { return p.Source != oldPeer(t, 1) })
		if len(paths) != 1 || paths[0].Destination != oldPeer(t, 2) || said(paths[0]) != want {
			t.Errorf("slot %d: got %+v, want %s", slot, paths, want)
		}
	}
}

func oldPeer(t *testing.T, n int) core.NodeID {
	t.Helper()
	id, err := core.ParseNodeID(fmt.Sprintf("0a0a0a0a-0000-8000-8000-%012d", n))
	must(t, err)
	return id
}

// envUpgraded makes the test binary the process that is killed.
const envUpgraded = "NODEPROBE_TEST_UPGRADED"

// upgradeUntilKilled is the other process. It says when it begins and when it is
// done, and waits to be killed.
func upgradeUntilKilled(path string) error {
	fmt.Println("begun")
	s, err := Open(context.Background(), Options{Path: path, first: time.Hour})
	if err != nil {
		return err
	}
	fmt.Println("done")
	<-s.done
	return nil
}

// TestUpgradeKilled kills a process at some moment of an upgrade: the next start
// completes it, with all that was there.
func TestUpgradeKilled(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	whole := oldDatabase(t, "0001")
	// The first one is not killed before it is done, to know how long that takes.
	var longest time.Duration
	unfinished, kills := 0, times(8, 100)
	for i := range kills {
		path := filepath.Join(t.TempDir(), "nodeprobe.db")
		copyFile(t, whole, path)
		cmd := exec.Command(exe)
		cmd.Env, cmd.Stderr = append(os.Environ(), envUpgraded+"="+path), os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		var begun time.Time
		done := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			switch lines.Text() {
			case "begun":
				begun = time.Now()
				if i > 0 {
					time.AfterFunc(rand.N(longest), func() { _ = cmd.Process.Kill() })
				}
			case "done":
				done = true
				if i == 0 {
					longest = time.Since(begun)
					must(t, cmd.Process.Kill())
				}
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() == 1 {
			t.Fatalf("the upgrade ended by itself: %v", err)
		}
		if !done {
			unfinished++
		}
		s := open(t, Options{Path: path, first: time.Hour, Now: func() time.Time { return oldEnd }})
		if s.Recovered() != "" {
			t.Fatalf("kill %d: the database was found corrupt", i)
		}
		checkUpgraded(t, s)
		must(t, s.Close())
	}
	t.Logf("%d upgrades killed, %d of them before they were done: all complete after the next start", kills, unfinished)
}

func checkUpgraded(t *testing.T, s *Store) {
	t.Helper()
	a := oldPeer(t, 1)
	for metric, want := range map[string]core.Bucket{
		"":           {Runs: 24 * 120, Failures: 29, Min: 0.01, Max: 0.010049},
		"loss_ratio": {Runs: 24*120 - 29, Min: 0.1, Max: 0.10049},
	} {
		got, err := s.History(t.Context(), core.HistoryQuery{
			Node: a, Probe: "https", Metric: metric, From: oldEnd.Add(-24 * time.Hour), To: oldEnd, Step: 24 * time.Hour,
		})
		must(t, err)
		want.At, want.Mean = got[0].At, got[0].Mean
		if !sameBucket(got[0], want) {
			t.Errorf("%q: got %+v, want %+v", metric, got[0], want)
		}
	}
	var runs, failures, metrics int
	must(t, s.reader.QueryRow("SELECT COUNT(*), SUM(outcome = 'failure' AND message = 'no answer within 5 s') FROM poll_results WHERE probe = 'https'"+
		" AND ts_ms >= 1795521600000 - 86400000").Scan(&runs, &failures))
	must(t, s.reader.QueryRow("SELECT COUNT(*) FROM metric_results WHERE ts_ms >= 1795521600000 - 86400000").Scan(&metrics))
	if runs != 24*120 || failures != 29 || metrics != runs-failures {
		t.Errorf("the views have %d runs, %d failures, %d metrics; want 2880, 29, 2851", runs, failures, metrics)
	}
	latest, err := s.Latest(t.Context())
	must(t, err)
	nodes, err := s.Nodes(t.Context())
	must(t, err)
	events, err := s.Events(t.Context(), core.EventQuery{Open: true})
	must(t, err)
	plugins, err := s.Plugins(t.Context())
	must(t, err)
	pending, err := s.Pending(t.Context(), "webhook", 10, 1000)
	must(t, err)
	if len(latest) != 2 || len(nodes) != 1 || len(events) != 1 || len(plugins) != 1 || len(pending) != 1 {
		t.Errorf("got %d latest, %d nodes, %d events, %d plugins, %d records", len(latest), len(nodes), len(events), len(plugins), len(pending))
	}
}
