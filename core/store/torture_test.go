package store

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// envTorture asks for as much as "make torture-storage" does.
const envTorture = "NODEPROBE_TORTURE"

func times(few, many int) int {
	if os.Getenv(envTorture) != "" {
		return many
	}
	return few
}

const (
	// envTortured makes the test binary the process that is killed.
	envTortured = "NODEPROBE_TEST_TORTURED"
	// tortureStep is the time between two results: some 10 s of writing are hours.
	tortureStep = 2 * time.Second
)

// tortureStart is long enough ago that it does not reach the present.
var tortureStart = epoch.Add(-20 * 24 * time.Hour)

// tortureOptions have results packed, rolled up and dropped all the time.
func tortureOptions(path string, now *atomic.Int64) Options {
	return Options{
		Path: path, Self: node(0), MaxBytes: minMaxBytes, Raw: time.Hour, every: time.Millisecond,
		Now: func() time.Time { return time.UnixMilli(now.Load()) },
	}
}

// sufferUntilKilled is the other process: it saves numbered results, and says so.
func sufferUntilKilled(path string) error {
	ctx := context.Background()
	was, err := os.ReadFile(path + ".number")
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(string(was))
	if err != nil {
		return err
	}
	var now atomic.Int64
	now.Store(numbered(number).Started.UnixMilli()) // a clock that is behind is not what this is about
	s, err := Open(ctx, tortureOptions(path, &now))
	if err != nil {
		return err
	}
	_, number, err = kept(s)
	if err != nil {
		return err
	}
	for {
		var rs []core.Result
		for range crashBatch {
			number++
			rs = append(rs, numbered(number))
		}
		now.Store(rs[len(rs)-1].Started.UnixMilli())
		if err := s.SaveResults(ctx, rs); err != nil {
			return err
		}
		fmt.Println("ok")
	}
}

func numbered(number int) core.Result {
	r := result(number%crashNodes+1, uint64(number), tortureStart.Add(time.Duration(number)*tortureStep), time.Millisecond)
	r.Metrics = []core.Metric{{Name: "number_bytes", Value: float64(number)}}
	return r
}

// kept counts the results there are, single and in roll-ups, and finds the
// highest number.
func kept(s *Store) (count, highest int, err error) {
	for n := range crashNodes {
		for _, metric := range []string{"", "number_bytes"} {
			got, err := s.History(context.Background(), core.HistoryQuery{
				Node: node(n + 1), Probe: "https", Metric: metric,
				From: tortureStart.Truncate(time.Hour), To: tortureStart.Add(40 * 24 * time.Hour), Step: 50 * 24 * time.Hour,
			})
			if err != nil {
				return 0, 0, err
			}
			switch {
			case metric == "":
				count += got[0].Runs
			case !math.IsNaN(got[0].Max):
				highest = max(highest, int(got[0].Max))
			}
		}
	}
	return count, highest, nil
}

// TestTortureKill kills a process while it writes, packs, rolls up and trims.
// Numbers go up by one: as many results as the highest number says are all of
// them, and each once.
func TestTortureKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodeprobe.db")
	var now atomic.Int64
	now.Store(tortureStart.UnixMilli())
	acknowledged, was, lost, doubled, unsound := 0, 0, 0, 0, 0
	kills := times(6, 500)
	var packed, rolled bool
	for round := range kills {
		must(t, os.WriteFile(path+".number", []byte(strconv.Itoa(was)), 0o600))
		promised := killOneWriter(t, path, envTortured)
		acknowledged += promised
		o := tortureOptions(path, &now)
		o.every = time.Hour // what is there is looked at as it is
		s, err := Open(t.Context(), o)
		must(t, err)
		var said string
		must(t, s.reader.QueryRow("PRAGMA integrity_check").Scan(&said))
		if said != "ok" || s.Recovered() != "" {
			t.Errorf("round %d: integrity_check: %s", round, said)
			unsound++
		}
		count, highest, err := kept(s)
		must(t, err)
		if least := was + promised; highest < least {
			t.Errorf("round %d: the highest number is %d, %d were acknowledged", round, highest, least)
			lost += least - highest
		}
		lost, doubled = lost+max(0, highest-count), doubled+max(0, count-highest)
		if count != highest {
			t.Errorf("round %d: %d results, the highest number is %d", round, count, highest)
		}
		var chunks, rollups int
		must(t, s.reader.QueryRow("SELECT (SELECT COUNT(*) FROM chunk), (SELECT COUNT(*) FROM rollup)").Scan(&chunks, &rollups))
		packed, rolled = packed || chunks > 0, rolled || rollups > 0
		must(t, s.Close())
		if was = highest; t.Failed() {
			break
		}
	}
	if !packed {
		t.Error("nothing was packed: the test does not do what it should")
	}
	if os.Getenv(envTorture) != "" && !rolled {
		t.Error("nothing was rolled up")
	}
	t.Logf("%d kills: %d results acknowledged, %d kept, %d lost, %d doubled, %d times not sound", kills, acknowledged, was, lost, doubled, unsound)
}
