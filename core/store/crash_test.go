package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/scripts/require"
)

const (
	kills         = 12
	crashBatch    = 5
	crashNodes    = 3
	crashInterval = 10 * time.Millisecond
)

// TestKill kills a process that writes and says what it has been promised. What
// was acknowledged must be there, once.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	total, want := 0, 0
	for round := range kills {
		acknowledged := killOneWriter(t, path, envCrashWriter)
		rows := auditCrash(t, path)
		want += acknowledged
		if rows < want {
			t.Fatalf("round %d: %d results are left of %d acknowledged", round, rows, want)
		}
		total, want = rows, rows // what was written without acknowledgement stays, too
	}
	if total == 0 {
		t.Fatal("nothing was written")
	}
	t.Logf("%d results survived %d kills", total, kills)
}

// killOneWriter lets a process write for a random time and returns how many
// results it was promised.
func killOneWriter(t *testing.T, path, env string) int {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), env+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	acknowledged, lines := 0, bufio.NewScanner(out)
	var once sync.Once
	for lines.Scan() {
		if lines.Text() != "ok" {
			t.Errorf("the writer says %q", lines.Text())
		}
		acknowledged += crashBatch
		once.Do(func() {
			time.AfterFunc(rand.N(120*time.Millisecond), func() { _ = cmd.Process.Kill() })
		})
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() == 1 {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return acknowledged
}

// auditCrash opens what a kill has left, checks it and counts the runs.
func auditCrash(t *testing.T, path string) int {
	t.Helper()
	s := open(t, Options{Path: path})
	if s.Recovered() != "" {
		t.Fatalf("the database was found corrupt")
	}
	var said string
	must(t, s.reader.QueryRow("PRAGMA integrity_check").Scan(&said))
	if said != "ok" {
		t.Fatalf("integrity_check: %s", said)
	}
	// Each run stores one row of its own and one of a metric, its number: both or
	// none, none twice, and the outbox record with them.
	var rows, numbers, distinct, records int
	q := "SELECT COUNT(*) FROM poll_results"
	must(t, s.reader.QueryRow(q).Scan(&rows))
	must(t, s.reader.QueryRow("SELECT COUNT(*), COUNT(DISTINCT value) FROM metric_results").Scan(&numbers, &distinct))
	must(t, s.reader.QueryRow("SELECT COUNT(*) FROM outbox").Scan(&records))
	if rows != numbers || numbers != distinct || rows != records {
		t.Fatalf("%d runs, %d of their metrics, %d different, %d outbox records", rows, numbers, distinct, records)
	}
	must(t, s.Close())
	return rows
}

// writeUntilKilled is the other process: it saves and says so.
func writeUntilKilled(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, Options{Path: path, Self: node(0), Records: records})
	if err != nil {
		return err
	}
	var last sql.NullFloat64
	if err := s.reader.QueryRow("SELECT MAX(value) FROM metric_results").Scan(&last); err != nil {
		return err
	}
	for number := int64(last.Float64) + 1; ; {
		var rs []core.Result
		for range crashBatch {
			r := result(int(number%crashNodes)+1, uint64(number), epoch.Add(time.Duration(number)*crashInterval), time.Millisecond)
			r.Metrics = []core.Metric{{Name: "number_bytes", Value: float64(number)}}
			rs = append(rs, r)
			number++
		}
		if err := s.SaveResults(ctx, rs); err != nil {
			return err
		}
		fmt.Println("ok")
	}
}

func TestSecondProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "nodeprobe.db")
	s := open(t, Options{Path: path})
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), envCrashWriter+"="+path)
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("%s: %s.lock is held by nodeprobe (process %d); stop it, or give this one another data directory\n", ErrLocked, path, os.Getpid())
	if err == nil || string(out) != want {
		t.Errorf("second process: %v\ngot  %swant %s", err, out, want)
	}
	if _, err := Open(t.Context(), Options{Path: path}); !errors.Is(err, ErrLocked) {
		t.Errorf("second store: got %v, want %v", err, ErrLocked)
	}
	must(t, s.Close())
	open(t, Options{Path: path})
}

func TestSqlite3Shell(t *testing.T) {
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		require.Missing(t, "sqlite3", "the sqlite3 shell is not installed: %v", err)
	}
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	s := open(t, Options{Path: path})
	must(t, s.SaveNodes(t.Context(), []core.Node{{
		ID: node(1), FQDN: "a.example", Endpoints: []core.Endpoint{{Host: "a.example", Port: 443}, {Host: "10.0.0.1", Port: 443}},
		State: core.StateSuspect, FirstSeen: epoch, LastSeen: epoch.Add(1500 * time.Millisecond),
	}}))
	r := failure(1, 1, epoch, core.OutcomeFailure, "timeout", "no answer")
	r.RTT, r.Metrics = 1500*time.Microsecond, []core.Metric{{Name: "loss_ratio", Value: 0.5}}
	must(t, s.SaveResults(t.Context(), []core.Result{r}))

	for query, want := range map[string]string{
		"SELECT fqdn, ip, first_seen, last_seen, is_active, state FROM nodes":              "a.example|10.0.0.1|DAYT12:00:00.000Z|DAYT12:00:01.500Z|1|suspect",
		"SELECT fqdn, probe, at, outcome, reason, message, rtt_us, hour FROM poll_results": "a.example|https|DAYT12:00:00.000Z|failure|timeout|no answer|1500|DAYT12",
		"SELECT fqdn, probe, metric, value, hour FROM metric_results":                      "a.example|https|loss_ratio|0.5|DAYT12",
	} {
		want = strings.ReplaceAll(want, "DAY", epoch.Format(time.DateOnly))
		out, err := exec.Command(shell, "-readonly", path, query).CombinedOutput() // while the store is open
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", query, err, got, want)
		}
	}
	tables, err := exec.Command(shell, "-readonly", path, ".tables").CombinedOutput()
	must(t, err)
	for _, name := range []string{"nodes", "poll_results"} {
		if !strings.Contains(string(tables), name) {
			t.Errorf(".tables says %s, want %s in it", tables, name)
		}
	}
}
