package sdk

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// Server is a plugin as gRPC services. Authors call [Serve]; Server is for hosts
// and tests that serve a plugin in their own process.
type Server struct {
	pluginv1.UnimplementedPluginServer
	pluginv1.UnimplementedProberServer
	pluginv1.UnimplementedReporterServer

	about     Plugin
	log       hclog.Logger
	instances *instances
	pool      *pool
	ending    atomic.Bool   // no more jobs are taken
	stopping  chan struct{} // streams end
}

// How long a plugin that is told to end waits for its runs, and then for its
// instances to close.
const (
	drainTime = 2 * time.Second
	closeTime = time.Second
)

// NewServer checks p; the error lists what its author has to correct.
func NewServer(p Servable, log hclog.Logger) (*Server, error) {
	about := p.plugin()
	if err := about.check(); err != nil {
		return nil, err
	}
	return &Server{
		about: about, log: log, instances: newInstances(log), pool: newPool(about.maxInFlight()), stopping: make(chan struct{}),
	}, nil
}

// Drain takes no more jobs, waits up to two seconds for the runs in flight and
// ends the streams. It may be called once.
func (s *Server) Drain() {
	s.ending.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	s.pool.wait(ctx)
	close(s.stopping)
}

// Close closes all instances once their runs are over, and waits for that up to a
// second.
func (s *Server) Close() { s.instances.end(closeTime) }

// Register adds the services to a gRPC server.
func (s *Server) Register(to grpc.ServiceRegistrar) {
	pluginv1.RegisterPluginServer(to, s)
	pluginv1.RegisterProberServer(to, s)
	pluginv1.RegisterReporterServer(to, s)
}

// Describe implements the service.
func (s *Server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	d := s.about.Describe()
	out := &pluginv1.DescribeResponse{Name: d.Name, Version: d.Version, MaxInFlight: uint32(d.MaxInFlight)}
	for _, p := range d.Probes {
		out.Probes = append(out.Probes, &pluginv1.ProbeInfo{
			Kind: p.Kind, Version: p.Version, Summary: cleanText(p.Summary, maxMessageText), ConfigSchema: p.Schema, Needs: p.Needs,
			DefaultInterval: durationpb.New(p.Interval), DefaultTimeout: durationpb.New(p.Timeout), Identifies: p.Identifies,
			Occasions: words(p.Occasions),
		})
	}
	for _, r := range d.Reporters {
		out.Reporters = append(out.Reporters, &pluginv1.ReporterInfo{
			Kind: r.Kind, Version: r.Version, Summary: cleanText(r.Summary, maxMessageText), ConfigSchema: r.Schema, Needs: r.Needs, Wants: r.Wants,
		})
	}
	return out, nil
}

// Health implements the service. The error is Unavailable when no run can begin
// any more: the host then starts the plugin anew.
func (s *Server) Health(context.Context, *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	problem, serves := s.pool.health()
	if !serves {
		return nil, status.Error(codes.Unavailable, problem)
	}
	return &pluginv1.HealthResponse{Problem: problem, Counters: s.about.counters()}, nil
}
