package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// settings of an instance.
type settings struct {
	Do    string `json:"do"`
	Label string `json:"label"`
	Wait  int    `json:"wait_ms"`
	grant string
}

type server struct {
	pluginv1.UnimplementedPluginServer
	pluginv1.UnimplementedProberServer
	pluginv1.UnimplementedReporterServer
	mode    string
	started time.Time

	mu        sync.Mutex
	instances map[string]settings
}

func (s *server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	resp := &pluginv1.DescribeResponse{
		Name: "test", Version: "1.2.3",
		Reporters: []*pluginv1.ReporterInfo{{Kind: "sink", Version: "1.0.0", Wants: []string{"snapshot", "nonsense"}}},
	}
	if s.mode == "few" {
		resp.MaxInFlight = 2
	}
	if s.mode != "reporter" {
		resp.Probes = []*pluginv1.ProbeInfo{{
			Kind: "echo", Version: "1.0.0", Summary: "answers", Needs: []string{"identity"}, Identifies: true,
			ConfigSchema: []byte(`{"type":"object"}`), DefaultInterval: durationpb.New(7 * time.Second), DefaultTimeout: durationpb.New(3 * time.Second),
		}}
	}
	return resp, nil
}

func (s *server) Configure(_ context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.GetRemove() {
		delete(s.instances, r.GetInstance())
		return &pluginv1.ConfigureResponse{}, nil
	}
	var in settings
	if err := json.Unmarshal(append([]byte(nil), r.GetConfig()...), &in); len(r.GetConfig()) > 0 && err != nil {
		return refuse("", err.Error()), nil
	}
	switch in.Do {
	case "refuse":
		return refuse("servers[0].port", "is 0; want 1 to 65535"), nil
	case "refuse-second":
		if data, err := os.ReadFile(os.Getenv("TESTPLUGIN_STARTS")); err != nil || bytes.Count(data, []byte("\n")) > 1 {
			return refuse("", "once is enough"), nil
		}
	case "hang-first":
		if data, err := os.ReadFile(os.Getenv("TESTPLUGIN_STARTS")); err != nil || bytes.Count(data, []byte("\n")) < 2 {
			s.mu.Unlock() // jobs are answered meanwhile
			select {}
		}
	case "die-in-configure":
		os.Exit(9)
	}
	if s.instances == nil {
		s.instances = make(map[string]settings)
	}
	in.grant = string(r.GetGrants()["identity"])
	s.instances[r.GetInstance()] = in
	return &pluginv1.ConfigureResponse{}, nil
}

func refuse(field, message string) *pluginv1.ConfigureResponse {
	return &pluginv1.ConfigureResponse{Errors: []*pluginv1.ConfigError{{Field: field, Message: message}}}
}

func (s *server) Health(context.Context, *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	return &pluginv1.HealthResponse{}, nil
}

func (s *server) Deliver(_ context.Context, b *pluginv1.Batch) (*pluginv1.Receipt, error) {
	return &pluginv1.Receipt{Through: b.GetRecords()[len(b.GetRecords())-1].GetSeq() + 100}, nil
}

func (s *server) Run(st pluginv1.Prober_RunServer) error {
	out := make(chan *pluginv1.Result, 256)
	ctx, cancel := context.WithCancel(st.Context())
	defer cancel()
	beats := make(chan uint64, 16)
	go send(ctx, st, out, beats)
	for {
		batch, err := st.Recv()
		if err != nil {
			return nil
		}
		if batch.GetHeartbeat() != 0 && s.mode != "no-pulse" {
			beats <- batch.GetHeartbeat()
		}
		for _, j := range batch.GetJobs() {
			s.run(j, out)
		}
	}
}

// send is the natural batching of the contract.
func send(ctx context.Context, st pluginv1.Prober_RunServer, out chan *pluginv1.Result, beats chan uint64) {
	for {
		batch := &pluginv1.ResultBatch{}
		select {
		case r := <-out:
			batch.Results = append(batch.Results, r)
		case batch.Heartbeat = <-beats:
		case <-ctx.Done():
			return
		}
		for len(out) > 0 && len(batch.Results) < 64 {
			batch.Results = append(batch.Results, <-out)
		}
		if st.Send(batch) != nil {
			return
		}
	}
}

func (s *server) run(j *pluginv1.Job, out chan<- *pluginv1.Result) {
	s.mu.Lock()
	in, ok := s.instances[j.GetInstance()]
	s.mu.Unlock()
	r := &pluginv1.Result{
		JobId: j.GetId(), Outcome: pluginv1.Outcome_OUTCOME_SUCCESS, Started: timestamppb.Now(),
		Took: durationpb.New(time.Millisecond), Rtt: durationpb.New(200 * time.Microsecond),
	}
	if !ok {
		r.Outcome, r.Reason, r.Message = pluginv1.Outcome_OUTCOME_PLUGIN_ERROR, "internal", "unknown instance"
	}
	if in.Wait > 0 {
		r.Attributes = attributes(map[string]string{"label": in.Label})
		time.AfterFunc(time.Duration(in.Wait)*time.Millisecond, func() { out <- r })
		return
	}
	switch in.Do {
	case "never":
		return
	case "exit":
		os.Exit(7)
	case "grandchild":
		grandchild()
	case "alloc":
		go eat(out, r)
		return
	case "flood":
		flood()
	case "stdout":
		_, _ = rawStdout.Write(bytes.Repeat([]byte("x"), 1<<20))
	case "huge":
		r.Attributes = attributes(map[string]string{"huge": strings.Repeat("x", 5<<20)})
	case "invent":
		out <- &pluginv1.Result{JobId: 123456789, Outcome: pluginv1.Outcome_OUTCOME_SUCCESS}
		out <- r
	case "describe":
		r.Attributes = attributes(map[string]string{"label": in.Label, "grant": in.grant, "env": variables(), "host": j.GetTarget().GetHost()})
	case "label", "hang-first":
		r.Attributes = attributes(map[string]string{"label": in.Label})
	}
	out <- r
}

// variables are the names of the process's environment.
func variables() string {
	var names []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// flood writes 20 MB past go-plugin's redirection of os.Stderr.
func flood() {
	line := append(bytes.Repeat([]byte("x"), 199), '\n')
	for range 100_000 {
		_, _ = rawStderr.Write(line)
	}
}

func eat(out chan<- *pluginv1.Result, r *pluginv1.Result) {
	var hoard [][]byte
	for range 4096 {
		hoard = append(hoard, bytes.Repeat([]byte{1}, 1<<20))
	}
	r.Message = string(hoard[0][:1])
	out <- r
}

func attributes(all map[string]string) (out []*pluginv1.Attribute) {
	for name, value := range all {
		out = append(out, &pluginv1.Attribute{Name: name, Value: value})
	}
	return out
}
