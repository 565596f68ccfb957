package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
)

// probe is a part without configuration.
func probe(f sdk.ProberFunc, opts ...sdk.Option) sdk.Part {
	return sdk.NewProbe("probe", "1.0.0", func(struct{}, sdk.Env) (sdk.Prober, error) { return f, nil }, opts...)
}

// start serves a probe and configures it.
func start(t *testing.T, f sdk.ProberFunc, opts ...sdk.Option) *plugintest.Harness {
	t.Helper()
	h := plugintest.Start(t, probe(f, opts...), plugintest.Options{})
	h.Configure("probe", "probe", nil)
	return h
}

func wantAnswer(t *testing.T, a sdk.Answer, outcome sdk.Outcome, reason sdk.Reason, message string) {
	t.Helper()
	if a.Outcome != outcome || a.Reason != reason || !strings.Contains(a.Message, message) {
		t.Errorf("got %s, %q, %q, want %s, %q, %q", a.Outcome, a.Reason, a.Message, outcome, reason, message)
	}
}

func TestOutcomes(t *testing.T) {
	errPlain := errors.New("it is broken")
	for _, tt := range []struct {
		name    string
		err     error
		outcome sdk.Outcome
		reason  sdk.Reason
	}{
		{"success", nil, sdk.OutcomeSuccess, ""},
		{"plain", errPlain, sdk.OutcomeFailure, sdk.ReasonOther},
		{"derived", &net.DNSError{Err: "no such host", Name: "x"}, sdk.OutcomeFailure, sdk.ReasonDNS},
		{"fail", sdk.Fail(sdk.ReasonLoss, "lost %d", 3), sdk.OutcomeFailure, sdk.ReasonLoss},
		{"wrapped", fmt.Errorf("second try: %w", sdk.Fail(sdk.ReasonIdentity, "x")), sdk.OutcomeFailure, sdk.ReasonIdentity},
		{"foreign reason", sdk.Fail("no_such_word", "x"), sdk.OutcomeFailure, sdk.ReasonOther},
		{"unsupported", sdk.Unsupported("no IPv6 here"), sdk.OutcomeUnsupported, sdk.ReasonUnsupported},
		{"its own cancel", fmt.Errorf("first: %w", context.Canceled), sdk.OutcomeUnsupported, sdk.ReasonCanceled},
		{"no permission", fmt.Errorf("listen: %w", syscall.EACCES), sdk.OutcomeUnsupported, sdk.ReasonPermission},
		{"no descriptors", fmt.Errorf("dial: %w", syscall.EMFILE), sdk.OutcomePluginError, sdk.ReasonResources},
		{"internal", sdk.Internal(errPlain), sdk.OutcomePluginError, sdk.ReasonInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, func(context.Context, sdk.Target) (sdk.Result, error) {
				return sdk.Result{Stages: []sdk.Stage{{Name: "dns", Took: time.Millisecond}}}, tt.err
			})
			a := h.Run("probe", sdk.Target{Host: "peer.example"})
			message := ""
			if tt.err != nil {
				message = tt.err.Error()
			}
			wantAnswer(t, a, tt.outcome, tt.reason, message)
			if len(a.Result.Stages) != 1 {
				t.Errorf("got stages %v, want what the run found out, whatever its end", a.Result.Stages)
			}
			if a.Started.IsZero() || a.Took <= 0 {
				t.Errorf("got started %s, took %s, want both", a.Started, a.Took)
			}
		})
	}
}

func TestTargetArrives(t *testing.T) {
	want := sdk.Target{NodeID: "5a3c9d52-8a56-4b1e-9c0f-2f1f6c7a9b01", Host: "::1", Port: 8443, PeerPort: 8445, SPKI: []byte(strings.Repeat("k", 32)), Fresh: true, Occasion: sdk.OccasionFailure, Services: []sdk.Service{{Name: "reflector", Port: 8444, Key: []byte("key")}}}
	var got sdk.Target
	var left time.Duration
	h := start(t, func(ctx context.Context, to sdk.Target) (sdk.Result, error) {
		deadline, _ := ctx.Deadline()
		got, left = to, time.Until(deadline)
		return sdk.Result{}, nil
	})
	h.RunFor("probe", time.Hour, want)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if s, ok := got.Service("reflector"); !ok || s.Port != 8444 {
		t.Errorf("got the service %+v, %v", s, ok)
	}
	if left <= 59*time.Minute || left > time.Hour {
		t.Errorf("got a deadline in %s, want in an hour", left)
	}
	if got.Addr(443) != "[::1]:8443" || (sdk.Target{Host: "a.example"}).Addr(443) != "a.example:443" {
		t.Errorf("got %s and %s", got.Addr(443), sdk.Target{Host: "a.example"}.Addr(443))
	}
}

// logged collects what a plugin logs.
type logged struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestPanicIsPluginError(t *testing.T) {
	var log logged
	h := plugintest.Start(t, probe(func(_ context.Context, to sdk.Target) (sdk.Result, error) {
		if to.Port == 1 {
			panic("no map")
		}
		return sdk.Result{}, nil
	}), plugintest.Options{Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
	h.Configure("probe", "probe", nil)
	wantAnswer(t, h.Run("probe", sdk.Target{Port: 1}), sdk.OutcomePluginError, sdk.ReasonInternal, "panic: no map")
	wantAnswer(t, h.Run("probe", sdk.Target{Port: 2}), sdk.OutcomeSuccess, "", "")
	if s := log.String(); !strings.Contains(s, "behave_test.go") || !strings.Contains(s, "no map") {
		t.Errorf("got the log %q, want the stack in it", s)
	}
}

// panicky panics when its text is asked for.
type panicky struct{}

func (panicky) Error() string { panic("no text") }

func TestErrorThatPanics(t *testing.T) {
	h := start(t, func(context.Context, sdk.Target) (sdk.Result, error) { return sdk.Result{}, panicky{} })
	wantAnswer(t, h.Run("probe", sdk.Target{}), sdk.OutcomePluginError, sdk.ReasonInternal, "panic: no text")
}

func TestGoexitIsPluginError(t *testing.T) {
	h := start(t, func(_ context.Context, to sdk.Target) (sdk.Result, error) {
		if to.Port == 1 {
			runtime.Goexit()
		}
		return sdk.Result{}, nil
	}, sdk.MaxInFlight(1))
	for range 3 { // more often than there are places
		wantAnswer(t, h.Run("probe", sdk.Target{Port: 1}), sdk.OutcomePluginError, sdk.ReasonInternal, "ended its goroutine")
	}
	wantAnswer(t, h.Run("probe", sdk.Target{}), sdk.OutcomeSuccess, "", "")
}

func TestDeadline(t *testing.T) {
	h := start(t, func(ctx context.Context, _ sdk.Target) (sdk.Result, error) {
		<-ctx.Done()
		return sdk.Result{}, ctx.Err()
	})
	a := h.RunFor("probe", 20*time.Millisecond, sdk.Target{})
	wantAnswer(t, a, sdk.OutcomeFailure, sdk.ReasonTimeout, "no answer within 20ms")
}

// A run that ignores its context is answered for; what it says later is dropped,
// which the harness checks at the end. Health tells of it while it lasts.
func TestIgnoredDeadline(t *testing.T) {
	release := make(chan struct{})
	h := start(t, func(context.Context, sdk.Target) (sdk.Result, error) {
		<-release
		return sdk.Result{}, nil
	})
	a := h.RunFor("probe", 10*time.Millisecond, sdk.Target{})
	// Whether the target would have answered, nobody knows.
	wantAnswer(t, a, sdk.OutcomePluginError, sdk.ReasonInternal, "ignored its deadline of 10ms")
	if p := health(t, h); !strings.HasPrefix(p, "1 of 64 runs") {
		t.Errorf("got the problem %q, want that a run ignores its deadline", p)
	}
	close(release)
	for health(t, h) != "" {
		runtime.Gosched()
	}
}

func TestCancel(t *testing.T) {
	began := make(chan struct{}, 1)
	h := start(t, func(ctx context.Context, _ sdk.Target) (sdk.Result, error) {
		began <- struct{}{}
		<-ctx.Done()
		return sdk.Result{}, ctx.Err()
	})
	f := h.Go("probe", time.Hour, sdk.Target{})
	<-began
	f.Cancel()
	// Nothing is said of the target: nobody waited for it.
	wantAnswer(t, f.Wait(), sdk.OutcomeUnsupported, sdk.ReasonCanceled, "context canceled")
}

func TestCancelIgnored(t *testing.T) {
	began, release := make(chan struct{}, 1), make(chan struct{})
	h := start(t, func(context.Context, sdk.Target) (sdk.Result, error) {
		began <- struct{}{}
		<-release
		return sdk.Result{}, nil
	})
	defer close(release)
	f := h.Go("probe", time.Hour, sdk.Target{})
	<-began
	f.Cancel()
	wantAnswer(t, f.Wait(), sdk.OutcomeUnsupported, sdk.ReasonCanceled, "")
}

// Heartbeats tell that the process is well: they need no place among the runs.
func TestHeartbeatWhileAllPlacesAreTaken(t *testing.T) {
	release := make(chan struct{})
	h := start(t, func(context.Context, sdk.Target) (sdk.Result, error) {
		<-release
		return sdk.Result{}, nil
	}, sdk.MaxInFlight(2))
	flights := []*plugintest.Flight{h.Go("probe", time.Hour, sdk.Target{}), h.Go("probe", time.Hour, sdk.Target{}), h.Go("probe", time.Hour, sdk.Target{})}
	for range 20 {
		h.Beat()
	}
	close(release)
	for _, f := range flights {
		wantAnswer(t, f.Wait(), sdk.OutcomeSuccess, "", "")
	}
}

// A target is not to blame when the plugin has no place for its run.
func TestNoPlaceIsNoFailure(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{}, 1)
	h := start(t, func(_ context.Context, to sdk.Target) (sdk.Result, error) {
		began <- struct{}{}
		<-release
		return sdk.Result{}, nil
	}, sdk.MaxInFlight(1))
	first := h.Go("probe", time.Hour, sdk.Target{})
	<-began
	a := h.RunFor("probe", 10*time.Millisecond, sdk.Target{})
	wantAnswer(t, a, sdk.OutcomePluginError, sdk.ReasonBusy, "all places were taken")
	if !a.Started.IsZero() {
		t.Errorf("got started %s, want never", a.Started)
	}
	waiting := h.Go("probe", time.Hour, sdk.Target{})
	waiting.Cancel()
	wantAnswer(t, waiting.Wait(), sdk.OutcomeUnsupported, sdk.ReasonCanceled, "")
	close(release)
	wantAnswer(t, first.Wait(), sdk.OutcomeSuccess, "", "")
}

// Neither is one whose run had to wait so long that it ran out of time.
func TestStarvedIsNoFailure(t *testing.T) {
	began, second := make(chan struct{}, 2), make(chan struct{})
	var runs atomic.Int64
	h := start(t, func(ctx context.Context, _ sdk.Target) (sdk.Result, error) {
		began <- struct{}{}
		if runs.Add(1) == 1 {
			<-second
			return sdk.Result{}, nil
		}
		<-ctx.Done()
		return sdk.Result{}, ctx.Err()
	}, sdk.MaxInFlight(1))
	first := h.Go("probe", time.Hour, sdk.Target{})
	<-began
	const timeout = 200 * time.Millisecond
	starved := h.Go("probe", timeout, sdk.Target{})
	h.Beat() // it has arrived
	time.AfterFunc(timeout/2, func() { close(second) })
	wantAnswer(t, starved.Wait(), sdk.OutcomePluginError, sdk.ReasonBusy, "")
	wantAnswer(t, first.Wait(), sdk.OutcomeSuccess, "", "")
}

func TestMaxInFlight(t *testing.T) {
	const most = 5
	var now, peak atomic.Int64
	h := start(t, func(context.Context, sdk.Target) (sdk.Result, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		runtime.Gosched()
		return sdk.Result{}, nil
	}, sdk.MaxInFlight(most))
	for _, a := range h.RunAll("probe", 0, make([]sdk.Target, 2000)...) {
		wantAnswer(t, a, sdk.OutcomeSuccess, "", "")
	}
	if p := peak.Load(); p > most {
		t.Errorf("got %d runs at once, want at most %d", p, most)
	}
}
