package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

type plugin struct {
	*sdk.Server
	places chan struct{}
	// configured counts configurations.
	configured atomic.Int64

	mu        sync.Mutex // guards below
	described int
	instances map[string]bool
}

func newPlugin(good *sdk.Server) *plugin {
	return &plugin{Server: good, places: make(chan struct{}, 64), instances: map[string]bool{}}
}

func (p *plugin) Describe(ctx context.Context, req *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	d, err := p.Server.Describe(ctx, req)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.described++
	again := p.described > 1
	switch {
	case is("tells another thing the second time") && again:
		d.Version = "1.0.1"
	case is("is slow to describe itself") && again:
		time.Sleep(2 * time.Second)
	case is("has a bad name"):
		d.Name = "Bad Plugin"
	case is("has a bad version"):
		d.Version = "one"
	case is("offers nothing"):
		d.Probes, d.Reporters = nil, nil
	case is("offers a kind twice"):
		d.Reporters[0].Kind = d.Probes[0].Kind
	case is("wants what there is not"):
		d.Reporters[0].Wants = []string{"logs"}
	case is("takes longer than its interval"):
		d.Probes[0].DefaultTimeout = durationpb.New(time.Hour)
	case is("runs on its own occasions"):
		d.Probes[0].Occasions = []string{"lunch"}
	case is("has no schema"):
		d.Probes[0].ConfigSchema = nil
	case is("has the schema of a list"):
		d.Probes[0].ConfigSchema = []byte(`{"type": "array"}`)
	}
	return d, err
}

func (p *plugin) Configure(ctx context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	resp, err := p.Server.Configure(ctx, req)
	bad := len(resp.GetErrors()) > 0
	p.mu.Lock()
	defer p.mu.Unlock()
	p.configured.Add(1)
	switch {
	case is("refuses every configuration"):
		return &pluginv1.ConfigureResponse{Errors: []*pluginv1.ConfigError{{Message: "no"}}}, nil
	case is("takes every configuration"):
		return &pluginv1.ConfigureResponse{}, nil
	case is("does not say which field is bad") && bad:
		resp.Errors = []*pluginv1.ConfigError{{Message: "no"}}
	case is("refuses without a word") && bad:
		resp.Errors = []*pluginv1.ConfigError{{}}
	case is("refuses by an error of the call") && bad:
		return nil, status.Error(codes.InvalidArgument, "no")
	case is("drops the instance with a refusal") && bad:
		delete(p.instances, req.GetInstance())
		return resp, err
	}
	switch {
	case is("runs a service that it was not granted"):
		resp.Services = []*pluginv1.Service{{Name: "echo", Port: 7}}
	case is("runs a service nowhere"):
		resp.Services = []*pluginv1.Service{{Name: "echo"}}
	}
	switch {
	case bad || req.GetKind() != "probe":
	case req.GetRemove():
		if !is("goes on with a removed instance") {
			delete(p.instances, req.GetInstance())
		}
	default:
		p.instances[req.GetInstance()] = true
	}
	return resp, err
}

func (p *plugin) Deliver(ctx context.Context, b *pluginv1.Batch) (*pluginv1.Receipt, error) {
	if b.GetInstance() != "reporter" && !is("takes batches for anybody") {
		return nil, status.Error(codes.NotFound, "no such reporter")
	}
	r := &pluginv1.Receipt{}
	if n := len(b.GetRecords()); n > 0 {
		r.Through = b.GetRecords()[n-1].GetSeq()
	}
	switch {
	case is("acknowledges more than it got"):
		r.Through++
	case is("acknowledges less without a word") && r.Through > 0:
		r.Through--
	case is("breaks on a batch") && len(b.GetRecords()) > 0:
		return nil, errors.New("no")
	case is("dies of an empty batch") && len(b.GetRecords()) == 0:
		os.Exit(2)
	}
	return r, nil
}
