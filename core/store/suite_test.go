package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// opener opens a store on an empty database, or on the one at o.Path.
type opener func(t *testing.T, o Options) *Store

// suite is what every database must do.
func suite(t *testing.T, open opener) {
	for _, c := range []struct {
		name string
		test func(*testing.T, opener)
	}{
		{"history", testHistory},
		{"history of metrics", testMetrics},
		{"history query", testBadQuery},
		{"percentiles", testPercentiles},
		{"same millisecond", testSameMillisecond},
		{"saved again", testSavedAgain},
		{"latest", testLatest},
		{"clock set back", testClockSetBack},
		{"views", testViews},
		{"views are bounded", testViewBounds},
		{"nodes", testNodes},
		{"events", testEvents},
		{"documents", testDocuments},
		{"documents are bounded", testDocumentBounds},
		{"documents of a commit that failed", testDocumentsOfAFailedCommit},
		{"plugins", testPlugins},
		{"reports", testReports},
		{"unverified reports", testUnverified},
		{"group commit", testGroupCommit},
		{"hostile text", testHostileText},
		{"too many metrics", testTooManyMetrics},
		{"too many messages", testTooManyMessages},
		{"readers beside the writer", testReaders},
		{"closed", testClosed},
		{"outbox", testOutbox},
		{"outbox wants", testWants},
		{"outbox trimmed by age", testTrimAge},
		{"outbox trimmed by size", testTrimBytes},
		{"outbox acknowledged ahead", testAckAhead},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}

func testHistory(t *testing.T, open opener) {
	s := open(t, Options{})
	must(t, s.SaveResults(t.Context(), []core.Result{
		result(1, 1, epoch, 10*time.Millisecond),
		result(1, 2, epoch.Add(20*time.Second), 30*time.Millisecond),
		failure(1, 3, epoch.Add(40*time.Second), core.OutcomeFailure, "timeout", "no answer"),
		failure(1, 4, epoch.Add(130*time.Second), core.OutcomePluginError, core.ReasonPluginCrashed, "gone"),
		failure(1, 5, epoch.Add(140*time.Second), core.OutcomeUnsupported, "", "no IPv6 here"),
		failure(1, 6, epoch.Add(185*time.Second), core.OutcomeFailure, "refused", "refused"),
		result(2, 7, epoch, time.Second),
	}))
	got, err := s.History(t.Context(), core.HistoryQuery{
		Node: node(1), Probe: "https", From: epoch, To: epoch.Add(4*time.Minute + time.Second), Step: time.Minute,
	})
	must(t, err)
	nan := math.NaN()
	want := []core.Bucket{
		{At: epoch, Runs: 3, Failures: 1, Min: 0.01, Mean: 0.02, Max: 0.03},
		{At: epoch.Add(time.Minute), Min: nan, Mean: nan, Max: nan},
		{At: epoch.Add(2 * time.Minute), Min: nan, Mean: nan, Max: nan},
		{At: epoch.Add(3 * time.Minute), Runs: 1, Failures: 1, Min: nan, Mean: nan, Max: nan},
		{At: epoch.Add(4 * time.Minute), Min: nan, Mean: nan, Max: nan},
	}
	if !slices.EqualFunc(got, want, sameBucket) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func sameBucket(a, b core.Bucket) bool {
	near := func(x, y float64) bool {
		return math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) < 1e-9*math.Max(1, math.Abs(y))
	}
	return a.At.Equal(b.At) && a.Runs == b.Runs && a.Failures == b.Failures && near(a.Min, b.Min) && near(a.Mean, b.Mean) && near(a.Max, b.Max)
}

func testMetrics(t *testing.T, open opener) {
	s := open(t, Options{})
	r := result(1, 1, epoch, time.Millisecond)
	r.Metrics = []core.Metric{
		{Name: "pmtu_bytes", Value: 1500},
		{Name: "loss_ratio", Value: 0.05},
		{Name: "zero_ratio"},
		{Name: "jitter_seconds", Value: math.NaN()},
		{Name: "cert_expires_seconds", Value: 1_790_000_000.5},
		{Name: "huge_bytes", Value: 1e300},
	}
	must(t, s.SaveResults(t.Context(), []core.Result{r}))
	for metric, want := range map[string]float64{
		"pmtu_bytes": 1500, "loss_ratio": 0.05, "zero_ratio": 0, "jitter_seconds": math.NaN(),
		"cert_expires_seconds": 1_790_000_000.5, "huge_bytes": math.NaN(), "never_heard_of": math.NaN(),
	} {
		got, err := s.History(t.Context(), core.HistoryQuery{
			Node: node(1), Probe: "https", Metric: metric, From: epoch, To: epoch.Add(time.Second), Step: time.Second,
		})
		must(t, err)
		b := core.Bucket{At: epoch, Runs: got[0].Runs, Min: want, Mean: want, Max: want}
		if len(got) != 1 || !sameBucket(got[0], b) {
			t.Errorf("%s: got %v, want %v", metric, got, b)
		}
	}
}

func testPercentiles(t *testing.T, open opener) {
	s := open(t, Options{})
	var rs []core.Result
	for i := range 1000 {
		rs = append(rs, result(1, uint64(i+1), epoch.Add(time.Duration(i)*time.Second), time.Duration(i+1)*time.Millisecond))
	}
	rs = append(
		rs, failure(2, 2001, epoch, core.OutcomeFailure, "timeout", "no answer"),
		failure(2, 2002, epoch.Add(time.Second), core.OutcomePluginError, core.ReasonPluginCrashed, "gone"),
		result(3, 2003, epoch.Add(-time.Millisecond), time.Second), result(3, 2004, epoch.Add(time.Hour), time.Second),
	)
	must(t, s.SaveResults(t.Context(), rs))
	got, err := s.Percentiles(t.Context(), core.WindowQuery{Probe: "https", From: epoch, To: epoch.Add(time.Hour)})
	must(t, err)
	want := []core.PathSummary{
		{Node: node(1), Runs: 1000, P50: 500 * time.Millisecond, P90: 900 * time.Millisecond, P99: 990 * time.Millisecond},
		{Node: node(2), Runs: 1, Failures: 1},
	}
	slices.SortFunc(want, func(a, b core.PathSummary) int { return slices.Compare(a.Node[:], b.Node[:]) })
	comparePercentiles(t, got, want, 0.01)
	if _, err := s.Percentiles(t.Context(), core.WindowQuery{Probe: "https", From: epoch, To: epoch}); !errors.Is(err, ErrBadQuery) {
		t.Errorf("an empty window: got %v, want %v", err, ErrBadQuery)
	}
	if got, err := s.Percentiles(t.Context(), core.WindowQuery{Probe: "none", From: epoch, To: epoch.Add(time.Hour)}); err != nil || len(got) > 0 {
		t.Errorf("an unknown probe: got %v, %v", got, err)
	}
}

// comparePercentiles wants RTTs that are wrong by a share of off at most.
func comparePercentiles(t *testing.T, got, want []core.PathSummary, off float64) {
	t.Helper()
	near := func(a, b time.Duration) bool { return math.Abs(float64(a-b)) <= off*float64(b) }
	same := func(a, b core.PathSummary) bool {
		return a.Node == b.Node && a.Runs == b.Runs && a.Failures == b.Failures && near(a.P50, b.P50) && near(a.P90, b.P90) && near(a.P99, b.P99)
	}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func testBadQuery(t *testing.T, open opener) {
	s := open(t, Options{})
	for name, q := range map[string]core.HistoryQuery{
		"backwards": {From: epoch, To: epoch.Add(-time.Hour), Step: time.Second},
		"no step":   {From: epoch, To: epoch.Add(time.Hour)},
		"too much":  {From: epoch, To: epoch.Add(24 * time.Hour), Step: time.Second},
	} {
		if _, err := s.History(t.Context(), q); !errors.Is(err, ErrBadQuery) {
			t.Errorf("%s: got %v, want %v", name, err, ErrBadQuery)
		}
	}
}

// runs counts the runs of https at node n within an hour from epoch.
func runs(t testing.TB, s *Store, n int) int {
	t.Helper()
	got, err := s.History(t.Context(), core.HistoryQuery{
		Node: node(n), Probe: "https", From: epoch.Add(-time.Hour), To: epoch.Add(time.Hour), Step: 2 * time.Hour,
	})
	must(t, err)
	return got[0].Runs
}

func testSameMillisecond(t *testing.T, open opener) {
	s := open(t, Options{})
	must(t, s.SaveResults(t.Context(), []core.Result{
		result(1, 1, epoch, 1), result(1, 2, epoch.Add(time.Microsecond), 1), result(1, 3, epoch, 1), result(1, 4, epoch.Add(time.Millisecond), 1),
	}))
	must(t, s.SaveResults(t.Context(), []core.Result{result(1, 5, epoch, 1)}))
	if got := runs(t, s, 1); got != 5 {
		t.Errorf("got %d runs, want 5", got)
	}
	// Jobs that were sent together end in any order.
	must(t, s.SaveResults(t.Context(), []core.Result{result(2, 8, epoch, 1), result(2, 7, epoch, 1)}))
	must(t, s.SaveResults(t.Context(), []core.Result{result(2, 6, epoch, 1)}))
	if got := runs(t, s, 2); got != 3 {
		t.Errorf("got %d runs, want 3", got)
	}
}

func testSavedAgain(t *testing.T, open opener) {
	s := open(t, Options{})
	rs := []core.Result{result(1, 1, epoch, 1), result(1, 2, epoch, 1), result(2, 3, epoch, 1)}
	must(t, s.SaveResults(t.Context(), rs))
	must(t, s.SaveResults(t.Context(), rs))
	if got := [2]int{runs(t, s, 1), runs(t, s, 2)}; got != [2]int{2, 1} {
		t.Errorf("got %d runs, want [2 1]", got)
	}
}

func testLatest(t *testing.T, open opener) {
	s := open(t, Options{})
	newer := result(1, 2, epoch.Add(time.Second), 1234*time.Microsecond)
	newer.Metrics = []core.Metric{{Name: "b_bytes", Value: 2}, {Name: "a_ratio", Value: 0.25}}
	bad := failure(2, 3, epoch, core.OutcomeFailure, "timeout", "no answer within 2 s")
	must(t, s.SaveResults(t.Context(), []core.Result{newer, result(1, 1, epoch, time.Hour), bad}))
	must(t, s.SaveResults(t.Context(), []core.Result{result(1, 1, epoch.Add(-time.Hour), time.Hour)}))
	got, err := s.Latest(t.Context())
	must(t, err)
	want := []core.PathStatus{
		{
			Source: node(0), Destination: node(1), Probe: "https", Outcome: core.OutcomeSuccess, RTT: 1234 * time.Microsecond,
			Metrics: []core.Metric{{Name: "a_ratio", Value: 0.25}, {Name: "b_bytes", Value: 2}}, At: newer.Started,
		},
		{Source: node(0), Destination: node(2), Probe: "https", Outcome: core.OutcomeFailure, Reason: "timeout", Message: bad.Message, At: epoch},
	}
	comparePaths(t, got, want)
}

// comparePaths wants the same paths in any order, times to the millisecond.
func comparePaths(t *testing.T, got, want []core.PathStatus) {
	t.Helper()
	for _, ps := range [][]core.PathStatus{got, want} {
		for i := range ps {
			ps[i].At = ps[i].At.UTC().Truncate(time.Millisecond)
		}
		slices.SortFunc(ps, func(a, b core.PathStatus) int {
			return slices.Compare([]byte(string(a.Source[:])+string(a.Destination[:])+a.Probe), []byte(string(b.Source[:])+string(b.Destination[:])+b.Probe))
		})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func testNodes(t *testing.T, open opener) {
	s := open(t, Options{})
	full := core.Node{
		ID: node(1), Key: core.KeyHash{1, 0, 1}, Proven: true, FQDN: "a.example", Version: "1.2.3", BootID: "b", DiscoveredBy: "seed", Seed: true,
		Endpoints: []core.Endpoint{{Host: "a.example", Port: 443}, {Host: "fd00::1", Port: 8443}},
		State:     core.StateDown, Reason: "timeout", Message: "it's gone",
		Since: epoch, FirstSeen: epoch.Add(-time.Hour), LastSeen: epoch.Add(-time.Minute), Failures: 3,
	}
	bare := core.Node{ID: node(2), Endpoints: []core.Endpoint{{Host: "10.0.0.2", Port: 443}}, State: core.StateAlive}
	must(t, s.SaveNodes(t.Context(), []core.Node{full, bare, bare}))
	must(t, s.SaveResults(t.Context(), []core.Result{result(1, 1, epoch, 1), result(2, 2, epoch, 1)}))
	full.State, full.Reason, full.Message, full.Failures = core.StateAlive, "", "", 0
	must(t, s.SaveNodes(t.Context(), []core.Node{full}))
	compareNodes(t, s, full, bare)

	must(t, s.DeleteNodes(t.Context(), []core.NodeID{bare.ID}))
	compareNodes(t, s, full)
	latest, err := s.Latest(t.Context())
	must(t, err)
	if len(latest) != 1 || latest[0].Destination != full.ID {
		t.Errorf("latest after delete: got %v, want only %v", latest, full.ID)
	}
	if got := runs(t, s, 2); got != 1 {
		t.Errorf("history of a deleted node: got %d runs, want 1", got)
	}
	if err := s.SaveNodes(t.Context(), []core.Node{{}}); err == nil {
		t.Error("a node without id was saved")
	}
}

func compareNodes(t *testing.T, s *Store, want ...core.Node) {
	t.Helper()
	got, err := s.Nodes(t.Context())
	must(t, err)
	for i := range got {
		for _, at := range []*time.Time{&got[i].Since, &got[i].FirstSeen, &got[i].LastSeen} {
			if !at.IsZero() {
				*at = at.UTC()
			}
		}
	}
	slices.SortFunc(want, func(a, b core.Node) int { return slices.Compare(a.ID[:], b.ID[:]) })
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func testPlugins(t *testing.T, open opener) {
	s := open(t, Options{})
	rec := core.PluginRecord{Name: "https", Disabled: true, Problem: "crashed 5 times", Restarts: 5, Changed: epoch}
	must(t, s.SavePlugin(t.Context(), rec))
	rec.Restarts = 6
	must(t, s.SavePlugin(t.Context(), rec))
	got, err := s.Plugins(t.Context())
	must(t, err)
	if len(got) != 1 || !got[0].Changed.Equal(epoch) {
		t.Fatalf("got %+v, want one, changed at %v", got, epoch)
	}
	got[0].Changed = epoch
	if got[0] != rec {
		t.Errorf("got %+v, want %+v", got[0], rec)
	}
}

func testGroupCommit(t *testing.T, open opener) {
	s := open(t, Options{})
	before, err := s.Stats(t.Context())
	must(t, err)
	entered, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.write(t.Context(), func(context.Context, *commit) error { close(entered); <-release; return nil })
		if err != nil {
			t.Error(err)
		}
	})
	<-entered
	var waiting []*request
	for n := range 4 {
		r := &request{results: []core.Result{result(n+1, uint64(n), epoch, 1)}, done: make(chan error, 1)}
		must(t, s.send(t.Context(), r))
		waiting = append(waiting, r)
	}
	close(release)
	wg.Wait()
	for _, r := range waiting {
		must(t, <-r.done)
	}
	after, err := s.Stats(t.Context())
	must(t, err)
	if got := after.Commits - before.Commits; got != 2 {
		t.Errorf("got %d transactions, want that of the first and one of the four that waited", got)
	}
	if got := runs(t, s, 4); got != 1 {
		t.Errorf("got %d runs, want 1", got)
	}
}

func testHostileText(t *testing.T, open opener) {
	s := open(t, Options{})
	r := failure(1, 1, epoch, core.OutcomeFailure, "time\x00out", "'; DROP TABLE tail; -- \x00 ?0 ? \xff \u202e")
	r.Job.Probe = "ht'tps\x00?"
	r.Metrics = []core.Metric{{Name: "a\x00'?_ratio", Value: 1}}
	for range 2 { // also when the series is known
		r.Started = r.Started.Add(time.Second)
		must(t, s.SaveResults(t.Context(), []core.Result{r}))
	}
	got, err := s.Latest(t.Context())
	must(t, err)
	if len(got) != 1 || got[0].Reason != "time out" || got[0].Message != "'; DROP TABLE tail; --   ?0 ? ?  " || got[0].Probe != "ht'tps ?" ||
		len(got[0].Metrics) != 1 || got[0].Metrics[0].Name != "a '?_ratio" {
		t.Errorf("got %#v", got)
	}
}

func testTooManyMetrics(t *testing.T, open opener) {
	s := open(t, Options{})
	for i := range 3 {
		r := result(1, uint64(i), epoch.Add(time.Duration(i)*time.Second), 1)
		for m := range maxPathMetrics {
			r.Metrics = append(r.Metrics, core.Metric{Name: fmt.Sprintf("m%d_%d_ratio", i, m), Value: 1})
		}
		must(t, s.SaveResults(t.Context(), []core.Result{r}))
	}
	st, err := s.Stats(t.Context())
	must(t, err)
	if st.MetricsRefused != 2*maxPathMetrics || st.Rows != 3+maxPathMetrics {
		t.Errorf("got %d refused, %d rows; want %d, %d", st.MetricsRefused, st.Rows, 2*maxPathMetrics, 3+maxPathMetrics)
	}
}

func testTooManyMessages(t *testing.T, open opener) {
	s := open(t, Options{})
	rs := make([]core.Result, codes+100)
	for i := range rs {
		rs[i] = failure(1, uint64(i+1), epoch.Add(time.Duration(i)*time.Millisecond), core.OutcomeFailure, "timeout", time.Duration(i).String())
	}
	must(t, s.SaveResults(t.Context(), rs))
	if got := runs(t, s, 1); got != len(rs) {
		t.Errorf("got %d runs, want %d", got, len(rs))
	}
	latest, err := s.Latest(t.Context())
	must(t, err)
	if want := rs[len(rs)-1].Message; latest[0].Message != want {
		t.Errorf("latest message: got %q, want %q", latest[0].Message, want)
	}
}

func testReaders(t *testing.T, open opener) {
	s := open(t, Options{})
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for before := 0; ; {
				got := runs(t, s, 1)
				if got < before {
					t.Errorf("got %d runs after %d", got, before)
				}
				before = got
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 50 {
		must(t, s.SaveResults(t.Context(), []core.Result{result(1, uint64(i+1), epoch.Add(time.Duration(i)*time.Second), 1)}))
		if got := runs(t, s, 1); got != i+1 {
			t.Errorf("after commit %d: got %d runs", i+1, got)
		}
	}
	close(done)
	wg.Wait()
}

func testClosed(t *testing.T, open opener) {
	s := open(t, Options{})
	accepted := &request{results: []core.Result{result(1, 1, epoch, 1)}, done: make(chan error, 1)}
	must(t, s.send(t.Context(), accepted))
	must(t, s.Close())
	select {
	case err := <-accepted.done:
		must(t, err)
	default:
		t.Error("what was accepted before close is not written")
	}
	if err := s.SavePlugin(t.Context(), core.PluginRecord{Name: "x"}); !errors.Is(err, ErrClosed) {
		t.Errorf("save after close: got %v, want %v", err, ErrClosed)
	}
	if err := s.Check(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("check after close: got %v, want %v", err, ErrClosed)
	}
}
