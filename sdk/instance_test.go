package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

func health(t *testing.T, h *plugintest.Harness) string {
	t.Helper()
	r, err := h.Client.Health(t.Context(), &pluginv1.HealthRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetProblem()
}

type numbered struct {
	Number int `json:"number"`
}

// counted answers with its number, and fails the test when it runs after Close.
type counted struct {
	t      *testing.T
	number int
	runs   *atomic.Int64
	closed atomic.Bool
	closes *sync.WaitGroup
	wait   func()
}

func (c *counted) Probe(context.Context, sdk.Target) (sdk.Result, error) {
	c.runs.Add(1)
	if c.wait != nil {
		c.wait()
	}
	if c.closed.Load() {
		c.t.Errorf("instance %d runs after it was closed", c.number)
	}
	return sdk.Result{Metrics: []sdk.Metric{{Name: "number", Value: float64(c.number)}}}, nil
}

func (c *counted) Close() error {
	if c.closed.Swap(true) {
		c.t.Errorf("instance %d is closed twice", c.number)
	}
	c.closes.Done()
	return nil
}

func TestReplacedInstanceEndsItsRuns(t *testing.T) {
	var runs atomic.Int64
	var closes sync.WaitGroup
	began, release := make(chan struct{}), make(chan struct{})
	h := plugintest.Start(t, sdk.NewProbe("probe", "1.0.0", func(c numbered, _ sdk.Env) (sdk.Prober, error) {
		closes.Add(1)
		p := &counted{t: t, number: c.Number, runs: &runs, closes: &closes}
		if c.Number == 1 {
			p.wait = func() { close(began); <-release }
		}
		return p, nil
	}), plugintest.Options{})
	h.Configure("a", "probe", numbered{1})
	old := h.Go("a", time.Hour, sdk.Target{})
	<-began
	h.Configure("a", "probe", numbered{2})
	if a := h.Run("a", sdk.Target{}); a.Result.Metrics[0].Value != 2 {
		t.Errorf("got %v, want the new instance", a.Result.Metrics)
	}
	close(release)
	if a := old.Wait(); a.Outcome != sdk.OutcomeSuccess || a.Result.Metrics[0].Value != 1 {
		t.Errorf("got %+v, want the success of the old instance", a)
	}
	h.Remove("a")
	closes.Wait() // both
	wantAnswer(t, h.Run("a", sdk.Target{}), sdk.OutcomePluginError, sdk.ReasonUnknown, `"a" is not configured`)
}

// 20 new configurations under load: no job is lost, none runs on a closed
// instance, and every instance is closed once.
func TestReloadUnderLoad(t *testing.T) {
	var runs, made atomic.Int64
	var closes sync.WaitGroup
	h := plugintest.Start(t, sdk.NewProbe("probe", "1.0.0", func(c numbered, _ sdk.Env) (sdk.Prober, error) {
		closes.Add(1)
		made.Add(1)
		return &counted{t: t, number: c.Number, runs: &runs, closes: &closes}, nil
	}), plugintest.Options{})
	h.Configure("a", "probe", numbered{})
	const reloads, jobs = 20, 200
	var flights []*plugintest.Flight
	for i := range reloads {
		for range jobs {
			flights = append(flights, h.Go("a", 0, sdk.Target{}))
		}
		h.Configure("a", "probe", numbered{i})
	}
	for _, f := range flights {
		wantAnswer(t, f.Wait(), sdk.OutcomeSuccess, "", "")
	}
	h.Remove("a")
	closes.Wait()
	if runs.Load() != reloads*jobs || made.Load() != reloads+1 {
		t.Errorf("got %d runs on %d instances, want %d on %d", runs.Load(), made.Load(), reloads*jobs, reloads+1)
	}
}

func TestRefusedConfigurationKeepsTheInstance(t *testing.T) {
	h := plugintest.Start(t, sdk.NewProbe("probe", "1.0.0", func(c numbered, _ sdk.Env) (sdk.Prober, error) {
		switch {
		case c.Number == 13:
			return nil, sdk.Invalid("number", "%w", errors.New("brings bad luck"))
		case c.Number == 14:
			panic("no fourteen")
		case c.Number == 15:
			return nil, nil
		}
		return sdk.ProberFunc(func(context.Context, sdk.Target) (sdk.Result, error) {
			return sdk.Result{Attributes: map[string]string{"number": fmt.Sprint(c.Number)}}, nil
		}), nil
	}), plugintest.Options{})
	h.Configure("a", "probe", numbered{1})
	for config, want := range map[any]string{
		`x`:                     `got "x", want an object`,
		struct{ Nunber int }{2}: `Nunber: unknown key; did you mean "number"?`,
		numbered{13}:            "number: brings bad luck",
		numbered{14}:            "the plugin broke: panic: no fourteen",
		numbered{15}:            "the plugin broke: New returned nil",
	} {
		errs := h.TryConfigure("a", "probe", config)
		if len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("%v: got %v, want %s", config, errs, want)
		}
	}
	if errs := h.TryConfigure("a", "prob", nil); len(errs) != 1 || errs[0].Message != `kind "prob" is not offered; valid are probe` {
		t.Errorf("got %v, want that the kind is not offered", errs)
	}
	if a := h.Run("a", sdk.Target{}); a.Result.Attributes["number"] != "1" {
		t.Errorf("got %+v, want the first instance", a)
	}
}

func TestSeveralPartsInOneProcess(t *testing.T) {
	part := func(kind string) sdk.Part {
		return sdk.NewProbe(kind, "1.0.0", func(_ struct{}, env sdk.Env) (sdk.Prober, error) {
			return sdk.ProberFunc(func(context.Context, sdk.Target) (sdk.Result, error) {
				return sdk.Result{Attributes: map[string]string{"kind": kind, "node": env.Node.FQDN, "log": env.Log.Name()}}, nil
			}), nil
		}, sdk.MaxInFlight(len(kind)))
	}
	sink := sdk.NewReporter("sink", "2.0.0", func(struct{}, sdk.Env) (sdk.Reporter, error) {
		return sdk.ReporterFunc(func(_ context.Context, b sdk.Batch) (uint64, error) { return b.Last(), nil }), nil
	})
	h := plugintest.Start(t, sdk.NewPlugin("several", "3.0.0", part("one"), part("three"), sink),
		plugintest.Options{Node: sdk.NodeInfo{FQDN: "alpha.example"}})
	h.Configure("a", "one", nil)
	h.Configure("b", "three", nil)
	h.Configure("c", "three", nil)
	h.Configure("s", "sink", nil)
	for instance, kind := range map[string]string{"a": "one", "b": "three", "c": "three"} {
		got := h.Run(instance, sdk.Target{}).Result.Attributes
		if got["kind"] != kind || got["node"] != "alpha.example" || got["log"] != instance {
			t.Errorf("%s: got %v, want kind %s", instance, got, kind)
		}
	}
	wantAnswer(t, h.Run("s", sdk.Target{}), sdk.OutcomePluginError, sdk.ReasonUnknown, "is a reporter")
	if r := h.Deliver("s", sdk.Record{Seq: 7}); r.Through != 7 || r.Err != nil {
		t.Errorf("got %+v, want through 7", r)
	}
	if _, err := h.TryDeliver("a"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deliver to a probe: got %v", err)
	}
	d, err := h.Client.Describe(t.Context(), &pluginv1.DescribeRequest{})
	if err != nil || d.GetMaxInFlight() != 5 || len(d.GetProbes()) != 2 || d.GetReporters()[0].GetVersion() != "2.0.0" {
		t.Errorf("got %v, %v", d, err)
	}
}

// A host that gave up in the meantime takes the configuration for refused.
func TestConfigureGivenUp(t *testing.T) {
	inNew, release, closed := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	h := plugintest.Start(t, sdk.NewProbe("probe", "1.0.0", func(c numbered, _ sdk.Env) (sdk.Prober, error) {
		if c.Number == 2 {
			inNew <- struct{}{}
			<-release
			return &closing{closed: closed}, nil
		}
		return &closing{}, nil
	}), plugintest.Options{})
	h.Configure("a", "probe", numbered{1})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := h.Client.Configure(ctx, &pluginv1.ConfigureRequest{Instance: "a", Kind: "probe", Config: []byte(`{"number":2}`)})
		failed <- err
	}()
	<-inNew
	cancel()
	if err := <-failed; status.Code(err) != codes.Canceled {
		t.Errorf("got %v, want Canceled", err)
	}
	health(t, h) // what was canceled before it is known to the plugin now
	close(release)
	<-closed
	wantAnswer(t, h.Run("a", sdk.Target{}), sdk.OutcomeSuccess, "", "")
}

// A host that gave up a batch sends it again, though the author's code may still
// be busy with it.
func TestOneBatchAtATime(t *testing.T) {
	began, release := make(chan struct{}, 2), make(chan struct{})
	var now atomic.Int64
	h := plugintest.Start(t, sdk.NewReporter("out", "1.0.0", func(struct{}, sdk.Env) (sdk.Reporter, error) {
		return sdk.ReporterFunc(func(_ context.Context, b sdk.Batch) (uint64, error) {
			if n := now.Add(1); n != 1 {
				t.Errorf("got %d batches at once, want one", n)
			}
			defer now.Add(-1)
			began <- struct{}{}
			<-release // deaf to its context
			return b.Last(), nil
		}), nil
	}), plugintest.Options{})
	h.Configure("out", "out", nil)
	batch := sdk.BatchToProto("out", sdk.Batch{Records: []sdk.Record{{Seq: 3}}})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := h.Client.Deliver(ctx, batch); first <- err }()
	<-began
	cancel()
	if err := <-first; status.Code(err) != codes.Canceled {
		t.Errorf("got %v, want Canceled", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.Client.Deliver(soon, batch); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("while the first goes on: got %v, want DeadlineExceeded", err)
	}
	close(release)
	if r := h.Deliver("out", sdk.Record{Seq: 3}); r.Through != 3 {
		t.Errorf("got through %d, want 3", r.Through)
	}
}

// What the author says of a delivery counts, whatever the cause was.
func TestReceipts(t *testing.T) {
	full := fmt.Errorf("open: %w", syscall.EMFILE)
	for name, tt := range map[string]struct {
		through uint64
		err     error
		want    string
	}{
		"all":                {7, nil, "7 <nil>"},
		"more than there is": {99, nil, "7 <nil>"},
		"less":               {3, nil, "3 retry after 0s: the reporter took only what comes through 3 of 7"},
		"plain error":        {3, errors.New("no route"), "3 retry after 0s: no route"},
		"later":              {3, sdk.Retryable(full, time.Minute), "3 retry after 1m0s: open: too many open files"},
		"never":              {0, sdk.Permanent(full), "0 never: open: too many open files"},
		"this system":        {3, full, "3 retry after 0s: open: too many open files"},
		"the plugin broke":   {3, sdk.Internal(errors.New("no map")), "rpc error: code = Internal desc = no map"},
	} {
		t.Run(name, func(t *testing.T) {
			h := plugintest.Start(t, sdk.NewReporter("out", "1.0.0", func(struct{}, sdk.Env) (sdk.Reporter, error) {
				return sdk.ReporterFunc(func(context.Context, sdk.Batch) (uint64, error) { return tt.through, tt.err }), nil
			}), plugintest.Options{})
			h.Configure("out", "out", nil)
			raw, err := h.Client.Deliver(t.Context(), sdk.BatchToProto("out", sdk.Batch{Records: []sdk.Record{{Seq: 3}, {Seq: 7}}}))
			got := fmt.Sprint(raw.GetThrough(), " <nil>")
			switch {
			case err != nil:
				got = err.Error()
			case raw.GetProblem() != "" && raw.GetRetryable():
				got = fmt.Sprintf("%d retry after %s: %s", raw.GetThrough(), raw.GetRetryAfter().AsDuration(), raw.GetProblem())
			case raw.GetProblem() != "":
				got = fmt.Sprintf("%d never: %s", raw.GetThrough(), raw.GetProblem())
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// closing closes the channel at its end; nil means nothing.
type closing struct{ closed chan struct{} }

func (c *closing) Probe(context.Context, sdk.Target) (sdk.Result, error) { return sdk.Result{}, nil }

func (c *closing) Close() error {
	if c.closed != nil {
		close(c.closed)
	}
	panic("in Close") // is the author's trouble, not the process's
}

func TestBadPluginsAreNotServed(t *testing.T) {
	ok := func(struct{}, sdk.Env) (sdk.Prober, error) { return nil, nil }
	for want, p := range map[string]sdk.Servable{
		"neither probe nor reporter":         sdk.NewPlugin("empty", "1.0.0"),
		`kind "Bad Name": want a name`:       sdk.NewProbe("Bad Name", "1.0.0", ok),
		`version "1" is not a semantic`:      sdk.NewProbe("probe", "1", ok),
		`kind "probe" is offered twice`:      sdk.NewPlugin("twice", "1.0.0", probe(nil), probe(nil)),
		`was not made by NewProbe`:           sdk.NewPlugin("zero", "1.0.0", sdk.Part{}),
		"interval and timeout must be":       probe(nil, sdk.Timeout(-1)),
		"got 5000 jobs in flight":            probe(nil, sdk.MaxInFlight(5000)),
		`wants "logs", which is no kind`:     sdk.NewReporter("r", "1.0.0", func(struct{}, sdk.Env) (sdk.Reporter, error) { return nil, nil }, sdk.Wants("logs")),
		`"service.Echo": want a service`:     probe(nil, sdk.Serves("Echo")),
		`"lunch" is no occasion`:             probe(nil, sdk.On("lunch")),
		"configuration int is no struct":     sdk.NewProbe("probe", "1.0.0", func(int, sdk.Env) (sdk.Prober, error) { return nil, nil }),
		"type chan int is unsupported":       sdk.NewProbe("probe", "1.0.0", func(struct{ C chan int }, sdk.Env) (sdk.Prober, error) { return nil, nil }),
		"map[int]string: keys must be texts": sdk.NewProbe("probe", "1.0.0", func(struct{ M map[int]string }, sdk.Env) (sdk.Prober, error) { return nil, nil }),
	} {
		if _, err := sdk.NewServer(p, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestIdentityOfGrants(t *testing.T) {
	if own, err := (sdk.Grants{}).Identity(); own != nil || err != nil {
		t.Errorf("not granted: got %v, %v, want nothing", own, err)
	}
	if own, err := (sdk.Grants{sdk.CapabilityIdentity: []byte("x")}).Identity(); own != nil || err == nil {
		t.Errorf("not a certificate: got %v, %v, want an error", own, err)
	}
}
