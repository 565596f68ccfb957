package store

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// withView is a poll of node n in which it told its view.
func withView(n int, at time.Time, pairs ...core.PathStatus) core.Result {
	r := result(n, 0, at, time.Millisecond)
	r.Learned = &core.Learned{Identity: &core.Identity{ID: node(n), Proven: true}, View: pairs}
	return r
}

// pair is what node a says of node b.
func pair(a, b int, at time.Time) core.PathStatus {
	return core.PathStatus{
		Source: node(a), Destination: node(b), Probe: "https", Outcome: core.OutcomeSuccess, RTT: 7 * time.Millisecond, At: at,
	}
}

func matrix(t *testing.T, s *Store) []core.PathStatus {
	t.Helper()
	got, err := pathsOf(t.Context(), s, core.MatrixQuery{})
	must(t, err)
	return slices.DeleteFunc(got, func(p core.PathStatus) bool { return p.Source == node(0) })
}

func testViews(t *testing.T, open opener) {
	s := open(t, Options{})
	now := time.Now()
	good := pair(1, 2, now)
	failed := core.PathStatus{
		Source: node(1), Destination: node(0), Probe: "pmtu", Outcome: core.OutcomeFailure, Reason: "timeout", Message: "no answer",
		Metrics: []core.Metric{{Name: "loss_ratio", Value: 0.5}}, At: now.Add(-time.Second),
	}
	must(t, s.SaveResults(t.Context(), []core.Result{withView(1, now, good, failed)}))
	comparePaths(t, matrix(t, s), []core.PathStatus{good, failed})

	t.Run("older one", func(t *testing.T) {
		must(t, s.SaveResults(t.Context(), []core.Result{withView(1, now.Add(-time.Minute), pair(1, 9, now))}))
		comparePaths(t, matrix(t, s), []core.PathStatus{good, failed})
	})
	t.Run("not modified", func(t *testing.T) {
		must(t, s.SaveResults(t.Context(), []core.Result{withView(1, now.Add(time.Second))}))
		comparePaths(t, matrix(t, s), []core.PathStatus{good, failed})
	})
	t.Run("of another source", func(t *testing.T) {
		must(t, s.SaveResults(t.Context(), []core.Result{withView(3, now, pair(1, 2, now))}))
		comparePaths(t, matrix(t, s), []core.PathStatus{good, failed, pair(3, 2, now)})
	})
	t.Run("unproven, unknown, failed or self", func(t *testing.T) {
		claim, stranger, failure, self := withView(4, now, pair(4, 2, now)), withView(5, now, pair(5, 2, now)),
			withView(6, now, pair(6, 2, now)), withView(0, now, pair(0, 2, now))
		claim.Learned.Identity.Proven = false
		stranger.Job.Target.Node = node(1)
		failure.Outcome = core.OutcomeFailure
		must(t, s.SaveResults(t.Context(), []core.Result{claim, stranger, failure, self}))
		comparePaths(t, matrix(t, s), []core.PathStatus{good, failed, pair(3, 2, now)})
	})
	t.Run("admitted at a candidate's address", func(t *testing.T) {
		must(t, s.SaveNodes(t.Context(), []core.Node{{ID: node(5)}}))
		known := withView(5, now, pair(5, 2, now))
		known.Job.Target.Node = core.NodeID{}
		must(t, s.SaveResults(t.Context(), []core.Result{known}))
		comparePaths(t, matrix(t, s), []core.PathStatus{good, failed, pair(3, 2, now), pair(5, 2, now)})
	})
	t.Run("deleted", func(t *testing.T) {
		must(t, s.DeleteNodes(t.Context(), []core.NodeID{node(3), node(5)}))
		comparePaths(t, matrix(t, s), []core.PathStatus{good, failed})
	})
}

func testViewBounds(t *testing.T, open opener) {
	s := open(t, Options{})
	now := time.Now()
	future, ancient, odd := pair(1, 2, now.Add(time.Hour)), pair(1, 3, now.Add(-48*time.Hour)), pair(1, 4, now)
	odd.RTT, odd.Metrics = -1, []core.Metric{{Name: "a", Value: math.Inf(1)}, {Name: "b", Value: math.NaN()}}
	loop, nowhere, nothing := pair(1, 1, now), pair(1, 5, now), pair(1, 6, now)
	nowhere.Destination, nothing.Outcome = core.NodeID{}, 9
	said := []core.PathStatus{future, ancient, odd, loop, nowhere, nothing}
	for i := range 3 * maxPairs {
		p := pair(1, 100+i, now)
		p.Message = fmt.Sprintf("%0300d", i)
		said = append(said, p)
	}
	must(t, s.SaveResults(t.Context(), []core.Result{withView(1, now, said...)}))
	got := matrix(t, s)
	const pairBytes = 20 // of a destination that has no number here: its id, and what was told
	if len(got) > maxPairs || len(got) < maxPacked/pairBytes {
		t.Errorf("got %d pairs, want %d to %d", len(got), maxPacked/pairBytes, maxPairs)
	}
	for _, p := range got {
		if p.At.After(time.Now()) || p.Source != node(1) || p.RTT < 0 || len(p.Metrics) > 0 ||
			slices.Contains([]core.NodeID{ancient.Destination, loop.Destination, {}, nothing.Destination}, p.Destination) {
			t.Errorf("kept %+v", p)
		}
	}
	var size int
	must(t, s.reader.NewSelect().Model((*viewRow)(nil)).ColumnExpr("LENGTH(packed)").Scan(t.Context(), &size))
	if size > maxPacked {
		t.Errorf("got %d bytes packed, want at most %d", size, maxPacked)
	}
}

func testEvents(t *testing.T, open opener) {
	s := open(t, Options{})
	us := epoch.Add(123 * time.Microsecond)
	down := core.Event{Kind: core.EventNodeState, Subject: "a", Message: "down", Source: "https", Began: us}
	joined := core.Event{Kind: core.EventNodeJoined, Subject: "b", Message: "hello", Began: us.Add(time.Second), Ended: us.Add(time.Second)}
	saved := []core.Event{down, joined}
	must(t, s.SaveEvents(t.Context(), saved))
	if saved[0].ID == 0 || saved[1].ID <= saved[0].ID {
		t.Errorf("got ids %d, %d, want rising ones", saved[0].ID, saved[1].ID)
	}
	down, joined = saved[0], saved[1]

	compareEvents(t, s, core.EventQuery{}, joined, down)
	compareEvents(t, s, core.EventQuery{Limit: 1}, joined)
	compareEvents(t, s, core.EventQuery{Open: true}, down)
	compareEvents(t, s, core.EventQuery{Kind: core.EventNodeJoined}, joined)
	compareEvents(t, s, core.EventQuery{Subject: "a"}, down)
	compareEvents(t, s, core.EventQuery{Until: joined.Began}, down)
	compareEvents(t, s, core.EventQuery{Since: us.Add(time.Minute)}, down)

	down.Ended = us.Add(time.Hour)
	again := down
	again.ID = 0
	must(t, s.SaveEvents(t.Context(), []core.Event{again}))
	compareEvents(t, s, core.EventQuery{}, joined, down)

	// The one that was left open ends where the next one begins.
	second := core.Event{Kind: core.EventNodeState, Subject: "a", Message: "down again", Began: us.Add(2 * time.Hour)}
	third := core.Event{Kind: core.EventNodeState, Subject: "a", Message: "and again", Began: us.Add(3 * time.Hour)}
	saved = []core.Event{second, third}
	must(t, s.SaveEvents(t.Context(), saved))
	saved[0].Ended = third.Began
	compareEvents(t, s, core.EventQuery{}, saved[1], saved[0], joined, down)
}

func compareEvents(t *testing.T, s *Store, q core.EventQuery, want ...core.Event) {
	t.Helper()
	got, err := s.Events(t.Context(), q)
	must(t, err)
	for i := range got {
		got[i].Began = got[i].Began.UTC()
		if !got[i].Ended.IsZero() {
			got[i].Ended = got[i].Ended.UTC()
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v:\ngot  %+v\nwant %+v", q, got, want)
	}
}

func testReports(t *testing.T, open opener) {
	s := open(t, Options{})
	now := time.Now()
	r := core.Report{
		Node: node(1), Verified: true, From: "10.0.0.1", Sent: epoch, Received: now,
		Nodes: []core.ReportedNode{{ID: "seed-x-y", FQDN: "x", IP: "10.0.0.9", Port: 443, DiscoveredBy: "seed", FirstSeen: epoch, Active: true}},
		Paths: []core.PathStatus{pair(1, 2, now), pair(7, 2, now)},
	}
	r.Paths[0].Metrics = []core.Metric{{Name: "x", Value: math.NaN()}}
	must(t, s.SaveReport(t.Context(), r))
	if got := matrix(t, s); len(got) != 0 {
		t.Errorf("a stranger's report filled the matrix: %v", got)
	}
	must(t, s.SaveNodes(t.Context(), []core.Node{{ID: node(1)}}))
	must(t, s.SaveReport(t.Context(), r))
	comparePaths(t, matrix(t, s), []core.PathStatus{pair(1, 2, now)})

	older := r
	older.Received, older.From = now.Add(-time.Minute), "10.9.9.9"
	must(t, s.SaveReport(t.Context(), older))
	claim := older
	claim.Verified = false
	must(t, s.SaveReport(t.Context(), claim))
	list, err := s.Reports(t.Context())
	must(t, err)
	want := core.ReportInfo{
		Node: node(1), Verified: true, From: "10.0.0.1", Sent: epoch.Truncate(time.Millisecond), Received: now.Truncate(time.Millisecond),
		NodeCount: 1, PathCount: 2,
	}
	if len(list) != 2 || list[1].Verified || !sameInfo(list[0], want) {
		t.Fatalf("got %+v, want %+v and the claim", list, want)
	}
	got, err := s.ReportsOf(t.Context(), node(1))
	must(t, err)
	if len(got) != 2 || !got[0].Verified || got[1].Verified || got[0].From != "10.0.0.1" {
		t.Fatalf("got %+v, want the verified one of 10.0.0.1 and the claim", got)
	}
	if other, err := s.ReportsOf(t.Context(), node(2)); err != nil || len(other) != 0 {
		t.Errorf("of a node that sent none: got %+v, %v", other, err)
	}
	if !reflect.DeepEqual(got[0].Nodes, r.Nodes) || len(got[0].Paths) != 2 {
		t.Errorf("got %+v, want %+v", got[0], r)
	}
}

// What was stored by a clock that was ahead is not the newest for ever.
func testClockSetBack(t *testing.T, open opener) {
	s := open(t, Options{})
	now := time.Now().Truncate(time.Millisecond)
	ahead := now.Add(24 * time.Hour)
	must(t, s.SaveNodes(t.Context(), []core.Node{{ID: node(1)}}))
	must(t, s.write(t.Context(), func(ctx context.Context, c *commit) error {
		return c.saveViews(ctx, map[core.NodeID]view{node(1): {at: ahead, pairs: []core.PathStatus{pair(1, 9, ahead)}}})
	}))
	for i, at := range []time.Time{ahead, now, now.Add(-time.Second)} {
		must(t, s.SaveResults(t.Context(), []core.Result{result(1, uint64(i+1), at, time.Millisecond)}))
		must(t, s.SaveReport(t.Context(), core.Report{Node: node(1), Verified: true, Received: at, Paths: []core.PathStatus{pair(1, 2, now)}}))
	}
	latest, err := s.Latest(t.Context())
	must(t, err)
	if len(latest) != 1 || !latest[0].At.Equal(now) {
		t.Errorf("latest: got %+v, want the one of %s", latest, now)
	}
	reports, err := s.Reports(t.Context())
	must(t, err)
	if len(reports) != 1 || !reports[0].Received.Equal(now) {
		t.Errorf("reports: got %+v, want the one of %s", reports, now)
	}
	comparePaths(t, matrix(t, s), []core.PathStatus{pair(1, 2, now)})
}

func sameInfo(a, b core.ReportInfo) bool {
	same := a.Sent.Equal(b.Sent) && a.Received.Equal(b.Received)
	a.Sent, a.Received, b.Sent, b.Received = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return same && a == b
}

func testUnverified(t *testing.T, open opener) {
	s := open(t, Options{})
	must(t, s.SaveReport(t.Context(), core.Report{Node: node(1), Verified: true, Received: epoch.Add(-time.Hour)}))
	for i := range maxUnverified + 20 {
		must(t, s.SaveReport(t.Context(), core.Report{Node: node(i), Received: epoch.Add(time.Duration(i) * time.Second)}))
	}
	got, err := s.Reports(t.Context())
	must(t, err)
	if len(got) != maxUnverified+1 {
		t.Errorf("got %d reports, want %d", len(got), maxUnverified+1)
	}
	if got[0].Node != node(maxUnverified+19) || !got[len(got)-1].Verified {
		t.Error("the newest and the verified one are not both there")
	}
}
