package plugintest

import (
	"context"
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/internal/driver"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// patience bounds what a test waits for a plugin.
const patience = 30 * time.Second

// Options are what the host gives to the plugin.
type Options struct {
	// Log is where the plugin logs to; nil: the log of the test.
	Log    hclog.Logger
	Node   sdk.NodeInfo
	Grants sdk.Grants
}

// Harness drives a plugin that is served in the test's process. Its methods fail
// the test when the plugin does not keep to the contract; call them from the
// goroutine of the test.
type Harness struct {
	// Client is for calls that Harness has no method for.
	Client *sdk.Client

	t        testing.TB
	options  Options
	stream   *driver.Stream
	services map[string][]sdk.Service
}

// Start serves p until the test ends. At the end the test fails when a job has no
// answer or more than one.
func Start(t testing.TB, p sdk.Servable, o Options) *Harness {
	t.Helper()
	if o.Log == nil {
		w := &testWriter{t: t}
		t.Cleanup(w.end) // the last of all: a run may outlive the test
		o.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: w, DisableTime: true})
	}
	server, err := sdk.NewServer(p, o.Log)
	if err != nil {
		t.Fatalf("the plugin is not well made: %v", err)
	}
	conn := connect(t, server)
	h := &Harness{Client: sdk.NewClient(conn), t: t, options: o, services: map[string][]sdk.Service{}}
	if h.stream, err = driver.Open(context.Background(), h.Client); err != nil {
		t.Fatalf("open the stream: %v", err)
	}
	t.Cleanup(h.end)
	return h
}

// connect serves on a loopback socket; cleanups run in reverse order.
func connect(t testing.TB, server *sdk.Server) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(sdk.ServerOptions()...)
	server.Register(g)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		server.Close()
	})
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(),
		append(sdk.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (h *Harness) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.stream.Close(ctx); err != nil {
		h.t.Errorf("the stream at the end of the test: %v", err)
	}
}

// Configure makes or replaces an instance; config is anything that encodes as a
// JSON object, nil means {}. A refusal fails the test.
func (h *Harness) Configure(instance, kind string, config any) {
	h.t.Helper()
	for _, e := range h.TryConfigure(instance, kind, config) {
		h.t.Fatalf("configure %s: %s", instance, e.Error())
	}
}

// TryConfigure is Configure that returns why the configuration is refused.
func (h *Harness) TryConfigure(instance, kind string, config any) []sdk.FieldError {
	h.t.Helper()
	data, err := json.Marshal(config)
	if err != nil {
		h.t.Fatalf("encode the configuration: %v", err)
	}
	if config == nil {
		data = nil
	}
	return h.configure(&pluginv1.ConfigureRequest{
		Instance: instance, Kind: kind, Config: data, Grants: h.options.Grants, Node: sdk.NodeToProto(h.options.Node),
	})
}

// Services are what an instance runs for other nodes; see [Secrets].
func (h *Harness) Services(instance string) []sdk.Service { return h.services[instance] }

// Remove drops an instance.
func (h *Harness) Remove(instance string) {
	h.t.Helper()
	h.configure(&pluginv1.ConfigureRequest{Instance: instance, Remove: true})
}

func (h *Harness) configure(req *pluginv1.ConfigureRequest) []sdk.FieldError {
	h.t.Helper()
	resp, err := h.Client.Configure(h.t.Context(), req)
	if err != nil {
		h.t.Fatalf("configure %s: %v", req.GetInstance(), err)
	}
	if len(resp.GetErrors()) == 0 {
		h.services[req.GetInstance()] = sdk.ServicesFromProto(resp)
	}
	var errs []sdk.FieldError
	for _, e := range resp.GetErrors() {
		errs = append(errs, sdk.FieldError{Field: e.GetField(), Message: e.GetMessage()})
	}
	return errs
}

// Run runs an instance at a target once, with the probe's default timeout.
func (h *Harness) Run(instance string, t sdk.Target) sdk.Answer {
	h.t.Helper()
	return h.RunAll(instance, 0, t)[0]
}

// RunFor is Run with a timeout.
func (h *Harness) RunFor(instance string, timeout time.Duration, t sdk.Target) sdk.Answer {
	h.t.Helper()
	return h.RunAll(instance, timeout, t)[0]
}

// RunAll runs an instance at all targets at once; the answers are in the order of
// the targets. A timeout of 0 is the probe's default.
func (h *Harness) RunAll(instance string, timeout time.Duration, targets ...sdk.Target) []sdk.Answer {
	h.t.Helper()
	flights := make([]*Flight, len(targets))
	for i, t := range targets {
		flights[i] = h.Go(instance, timeout, t)
	}
	answers := make([]sdk.Answer, len(targets))
	for i, f := range flights {
		answers[i] = f.Wait()
	}
	return answers
}

// Flight is a run that was asked for.
type Flight struct {
	h *Harness
	f *driver.Flight
}

// Go asks for a run and does not wait for it.
func (h *Harness) Go(instance string, timeout time.Duration, t sdk.Target) *Flight {
	return &Flight{h, h.stream.Go(driver.Job{Instance: instance, Target: t, Timeout: timeout})}
}

// Wait is the answer.
func (f *Flight) Wait() sdk.Answer {
	f.h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, err := f.f.Wait(ctx)
	if err != nil {
		f.h.t.Fatal(err)
	}
	return a
}

// Cancel says that nobody waits for the run any more; it is answered all the same.
func (f *Flight) Cancel() { f.h.stream.Cancel(f.f) }

// Beat sends a heartbeat and waits for its echo. [Harness.Services] then are those
// that run at that moment.
func (h *Harness) Beat() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.stream.Beat(ctx); err != nil {
		h.t.Fatal(err)
	}
	for instance := range h.services {
		h.services[instance] = h.stream.Running(instance)
	}
}

// Deliver hands records to an instance of a reporter.
func (h *Harness) Deliver(instance string, records ...sdk.Record) sdk.Receipt {
	h.t.Helper()
	r, err := h.TryDeliver(instance, records...)
	if err != nil {
		h.t.Fatalf("deliver to %s: %v", instance, err)
	}
	return r
}

// TryDeliver is Deliver that returns the error of a plugin that broke.
func (h *Harness) TryDeliver(instance string, records ...sdk.Record) (sdk.Receipt, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	r, err := h.Client.Deliver(ctx, sdk.BatchToProto(instance, sdk.Batch{Records: records}))
	if err != nil {
		return sdk.Receipt{}, err
	}
	return sdk.ReceiptFromProto(r), nil
}

// testWriter puts log lines into the log of the test while it lasts.
type testWriter struct {
	mu sync.Mutex // guards t
	t  testing.TB
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Logf("plugin: %s", p)
	}
	return len(p), nil
}

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = nil
}
