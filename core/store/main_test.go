package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seahow-uk/nodeprobe/core"
)

// The test binary is also the process that TestKill kills.
const envCrashWriter = "NODEPROBE_TEST_CRASH_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(envCrashWriter); path != "" {
		if err := writeUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if path := os.Getenv(envUpgraded); path != "" {
		if err := upgradeUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if path := os.Getenv(envTortured); path != "" {
		if err := sufferUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if path := os.Getenv(envMemory); path != "" {
		if err := askAll(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		stopServer()
		os.Exit(code)
	}))
}

func TestSQLite(t *testing.T) {
	suite(t, func(t *testing.T, o Options) *Store { return open(t, o) })
}

// TestPostgres is the suite, and what is tested from the inside on any database.
func TestPostgres(t *testing.T) {
	server(t)
	suite(t, func(t *testing.T, o Options) *Store { return open(t, o) })
	for name, test := range map[string]func(*testing.T){
		"age":                    TestAge,
		"tidy":                   TestTidy,
		"failed commit":          TestFailedCommit,
		"pack":                   TestPack,
		"in any order":           TestPackInAnyOrder,
		"pack in steps":          TestPackInSteps,
		"roll-ups":               TestRollups,
		"windows":                TestWindowsCountOnce,
		"past matrix":            TestPastMatrix,
		"past row":               TestPastRow,
		"past restart":           TestPastRestart,
		"slots set back":         TestSlotsClockSetBack,
		"slots, wrong clock":     TestSlotsWrongClock,
		"wrong clock":            TestWrongClock,
		"documents, wrong clock": TestDocumentsWrongClock,
		"half an hour dropped":   TestHalfDroppedHour,
		"events and space":       TestEventsFollowSpace,
		"size":                   TestSize,
		"size, all kinds":        TestSizeKeepsTheNewest,
		"reopen":                 TestReopen,
	} {
		t.Run(name, test)
	}
}

// open opens a store that is closed with the test. Below TestPostgres, that is in
// a schema of its own, one for each path.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "nodeprobe.db")
	}
	if strings.HasPrefix(t.Name(), "TestPostgres/") && o.DSN == "" {
		o.DSN = schema(t, o.Path)
	}
	o.Self = node(0)
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// node is the nth node's id; 0 is self.
func node(n int) core.NodeID {
	return core.KeyHash{1, byte(n >> 8), byte(n)}.NodeID()
}

// epoch is noon of yesterday: neither ahead of the clock nor old enough to go.
var epoch = time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)

// result is a success of probe https at node n.
func result(n int, job uint64, at time.Time, rtt time.Duration) core.Result {
	return core.Result{
		Job:     core.Job{ID: job, Probe: "https", Target: core.Target{Node: node(n)}, Due: at},
		Outcome: core.OutcomeSuccess, Started: at, RTT: rtt,
	}
}

func failure(n int, job uint64, at time.Time, o core.Outcome, reason core.Reason, message string) core.Result {
	r := result(n, job, at, 0)
	r.Outcome, r.Reason, r.Message = o, reason, message
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pathsOf is all rows of a matrix together.
func pathsOf(ctx context.Context, s *Store, q core.MatrixQuery) (all []core.PathStatus, err error) {
	rows, err := s.Matrix(ctx, q)
	for _, read := range rows {
		var row core.MatrixRow
		read(&row)
		all = append(all, row.Paths...)
	}
	return all, err
}
