package core

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

const testInterval = 30 * time.Second

// someTime is the same in every run: where it lies in the interval decides how
// many turns a window holds.
var someTime = time.Unix(1_800_000_000, 0)

func testID(n int) NodeID { return KeyHash(sha256.Sum256([]byte(fmt.Sprint(n)))).NodeID() }

func testPeers(n int) []Peer {
	peers := make([]Peer, n)
	for i := range peers {
		peers[i].Target = Target{Node: testID(i), Endpoint: Endpoint{fmt.Sprintf("10.0.%d.%d", i/250, i%250), 443}}
	}
	return peers
}

func testProbes(n int) []ProbeInfo {
	probes := make([]ProbeInfo, n)
	for i := range probes {
		probes[i] = ProbeInfo{Name: fmt.Sprint("p", i), Interval: testInterval, Timeout: 10 * time.Second, Identifies: i == 0}
	}
	return probes
}

// runs lets time pass and gives when each peer was run.
func (s *schedule) runs(from time.Time, d time.Duration) map[NodeID][]time.Time {
	got := map[NodeID][]time.Time{}
	for end := from.Add(d); ; {
		due, ok := s.next()
		if !ok || due.After(end) {
			return got
		}
		e, at := s.take(due, false)
		if e != nil {
			got[e.peer.Target.Node] = append(got[e.peer.Target.Node], at)
		}
	}
}

func TestEveryPeerOncePerInterval(t *testing.T) {
	now := someTime
	s := newSchedule(testID(-1), now)
	s.setProbes(now, testProbes(1))
	s.setPeers(now, testPeers(200))
	s.runs(now, 2*testInterval)
	const rounds = 50
	for id, at := range s.runs(now.Add(2*testInterval), rounds*testInterval) {
		if len(at) < rounds-1 || len(at) > rounds+1 {
			t.Fatalf("peer %s ran %d times in %d intervals", id, len(at), rounds)
		}
		for i := 1; i < len(at); i++ {
			gap := at[i].Sub(at[i-1])
			if gap < testInterval*8/10 || gap > testInterval*12/10 {
				t.Fatalf("gap of %s, want 30 s +-20 %%", gap)
			}
		}
	}
}

func TestRunsAreSpreadEvenly(t *testing.T) {
	now := someTime
	s := newSchedule(testID(-1), now)
	s.setProbes(now, testProbes(1))
	s.setPeers(now, testPeers(1000))
	s.runs(now, 2*testInterval)
	var buckets [30]int
	for _, at := range s.runs(now.Add(2*testInterval), 10*testInterval) {
		for _, a := range at {
			buckets[a.UnixNano()/int64(time.Second)%30]++
		}
	}
	mean := 10.0 * 1000 / 30
	for second, n := range buckets { // each peer brings its ten runs: sigma is 10 * sqrt(33) less what jitter smooths
		if math.Abs(float64(n)-mean) > 0.6*mean {
			t.Errorf("second %d has %d runs, want about %.0f: %v", second, n, mean, buckets)
		}
	}
}

func TestRestartFindsThePhase(t *testing.T) {
	now := someTime
	run := func(start time.Time) map[NodeID][]time.Time {
		s := newSchedule(testID(-1), start)
		s.setProbes(start, testProbes(1))
		s.setPeers(start, testPeers(50))
		s.runs(start, now.Add(5*testInterval).Sub(start))
		return s.runs(now.Add(5*testInterval), 5*testInterval)
	}
	first, second := run(now), run(now.Add(70*time.Second))
	for id, at := range first {
		if !slices.EqualFunc(at, second[id], time.Time.Equal) {
			t.Fatalf("peer %s: %v and after a restart %v", id, at, second[id])
		}
	}
}

func TestTwoNodesPollAtDifferentTimes(t *testing.T) {
	key := peerKey{node: testID(1)}
	a, b := newRhythm(testID(2), "p", key, testInterval), newRhythm(testID(3), "p", key, testInterval)
	if a.nominal(0) == b.nominal(0) {
		t.Error("two nodes poll one peer at one moment")
	}
}

func TestFirstRunsAreAtOnceAndSpread(t *testing.T) {
	now := someTime
	s := newSchedule(testID(-1), now)
	s.setProbes(now, testProbes(3))
	s.setPeers(now, testPeers(1000))
	if len(s.queue) != 3000 {
		t.Fatalf("got %d entries, want 3000", len(s.queue))
	}
	var seconds [3]int
	for _, e := range s.queue {
		wait := e.due.Sub(now)
		if wait < 0 || wait >= 3*time.Second {
			t.Fatalf("first run after %s", wait)
		}
		seconds[wait/time.Second]++
	}
	for _, n := range seconds {
		if n < 800 || n > 1200 {
			t.Errorf("first runs per second: %v, want about 1000", seconds)
		}
	}
	s.setPeers(now, append(testPeers(1000), Peer{Target: Target{Node: testID(5000)}}))
	if wait := s.peers[peerKey{node: testID(5000)}].entries["p0"].due.Sub(now); wait > 3*firstRunSpread {
		t.Errorf("one new peer waits %s", wait)
	}
}

func TestSetsAreDiffs(t *testing.T) {
	now := someTime
	s := newSchedule(testID(-1), now)
	s.setProbes(now, testProbes(2))
	s.setPeers(now, testPeers(10))
	s.runs(now, testInterval)
	now = now.Add(testInterval)
	before := s.peers[peerKey{node: testID(3)}].entries["p0"]
	due := before.due
	peers := testPeers(12)[2:]
	peers[1].Target.Port = 8443
	s.setPeers(now, peers)
	s.setProbes(now, append(testProbes(1), ProbeInfo{Name: "new", Interval: time.Minute}, ProbeInfo{Name: "by hand"}))
	after := s.peers[peerKey{node: testID(3)}].entries["p0"]
	if after != before || !after.due.Equal(due) || after.peer.Target.Port != 8443 {
		t.Error("an untouched entry lost its turn, or kept its old address")
	}
	if len(s.queue) != 20 || len(s.peers) != 10 || s.peers[peerKey{node: testID(0)}] != nil {
		t.Errorf("got %d entries of %d peers, want 20 of 10", len(s.queue), len(s.peers))
	}
	s.setPeers(now, nil)
	if len(s.queue) != 0 {
		t.Errorf("got %d entries without peers", len(s.queue))
	}
}

func TestPaceStretchesAndReturns(t *testing.T) {
	now := someTime
	s := newSchedule(testID(-1), now)
	s.setProbes(now, testProbes(1))
	peer := testPeers(1)
	s.setPeers(now, peer)
	s.runs(now, testInterval)
	now = now.Add(testInterval)
	peer[0].Pace = 10 * time.Minute
	s.setPeers(now, peer)
	if got := len(s.runs(now, 100*time.Minute)[testID(0)]); got != 10 {
		t.Errorf("got %d runs in 100 minutes, want 10", got)
	}
	now = now.Add(100 * time.Minute)
	peer[0].Pace = 0
	s.setPeers(now, peer)
	if due, _ := s.next(); due.Sub(now) > testInterval*12/10 || due.Before(now) {
		t.Errorf("next run after %s, want within an interval", due.Sub(now))
	}
}

func TestOverrunIsSkippedAndCounted(t *testing.T) {
	now := someTime
	s := newSchedule(testID(-1), now)
	s.setProbes(now, testProbes(1))
	s.setPeers(now, testPeers(1))
	e, _ := s.take(now.Add(time.Second), false)
	e.job = 7
	if got := len(s.runs(now.Add(time.Second), 10*testInterval)); got != 0 || s.skipped < 9 {
		t.Errorf("ran %d times over itself, skipped %d", got, s.skipped)
	}
	e.job = 0
	if got := len(s.runs(now.Add(10*testInterval+time.Second), 5*testInterval)[testID(0)]); got < 4 || got > 6 {
		t.Errorf("ran %d times afterwards, want 5", got)
	}
}

func TestMissedTurnsAreNotMadeUpFor(t *testing.T) {
	now := someTime
	s := newSchedule(testID(-1), now)
	s.setProbes(now, testProbes(1))
	s.setPeers(now, testPeers(20))
	later, runs := now.Add(time.Hour), 0
	for {
		if e, _ := s.take(later, false); e == nil {
			break
		}
		runs++
	}
	if runs != 20 {
		t.Errorf("got %d runs after an hour's sleep, want one of each", runs)
	}
}

func TestTimeoutLeavesAFifth(t *testing.T) {
	for _, tc := range []struct{ interval, timeout, want time.Duration }{
		{30 * time.Second, 10 * time.Second, 10 * time.Second},
		{10 * time.Second, 10 * time.Second, 8 * time.Second},
		{10 * time.Second, 0, 8 * time.Second},
		{0, 3 * time.Second, 3 * time.Second},
		{0, 0, defaultTimeout},
	} {
		if got := timeoutOf(&ProbeInfo{Interval: tc.interval, Timeout: tc.timeout}); got != tc.want {
			t.Errorf("interval %s, timeout %s: got %s, want %s", tc.interval, tc.timeout, got, tc.want)
		}
	}
}
