package sdk

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// Configure implements the service. The new instance is made beside the old one,
// which goes on serving until the new one is there, and for ever when it is refused.
func (s *Server) Configure(ctx context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	name := req.GetInstance()
	if name == "" {
		return nil, status.Error(codes.InvalidArgument, "configure: the instance has no name")
	}
	if req.GetRemove() {
		s.instances.replace(name, nil)
		return &pluginv1.ConfigureResponse{}, nil
	}
	in, errs := s.build(req)
	if len(errs) > 0 {
		return refused(errs), nil
	}
	services, err := in.services()
	if err != nil {
		closeQuietly(in.impl, in.log)
		return refused([]FieldError{{Message: err.Error()}}), nil
	}
	// A host that has given up takes the configuration for refused.
	if ctx.Err() != nil || !s.instances.replace(name, in) {
		closeQuietly(in.impl, in.log)
		return nil, status.Error(codes.Aborted, "configure: given up in the meantime")
	}
	return &pluginv1.ConfigureResponse{Services: servicesToProto(services)}, nil
}

// services asks the instance. Those count that its part serves and that were
// granted; a key has no business in a plugin's answer.
func (in *instance) services() (list []Service, err error) {
	serving, ok := in.impl.(Serving)
	if !ok {
		return nil, nil
	}
	defer func() {
		if p := recover(); p != nil {
			in.log.Error("panic in Services", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the plugin broke: panic: %v", p)
		}
	}()
	for _, s := range serving.Services() {
		if len(in.grants.Service(s.Name)) == 0 {
			return nil, fmt.Errorf("the plugin broke: service %q runs without the grant of %q", s.Name, CapabilityService(s.Name))
		}
		list = append(list, Service{Name: s.Name, Port: s.Port})
	}
	return list, nil
}

func refused(errs []FieldError) *pluginv1.ConfigureResponse {
	out := &pluginv1.ConfigureResponse{}
	for _, e := range errs {
		out.Errors = append(out.Errors, &pluginv1.ConfigError{
			Field: cleanText(e.Field, maxMessageText), Message: cleanText(e.Message, maxMessageText),
		})
	}
	return out
}

// build runs the author's code: SetDefaults, Validate and New.
func (s *Server) build(req *pluginv1.ConfigureRequest) (in *instance, errs []FieldError) {
	part, errs := s.about.part(req.GetKind())
	if len(errs) > 0 {
		return nil, errs
	}
	log := s.log.Named(req.GetInstance())
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic in configuration", "panic", p, "stack", string(debug.Stack()))
			in, errs = nil, []FieldError{{Message: fmt.Sprintf("the plugin broke: panic: %v", p)}}
		}
	}()
	config, errs := part.config.decode(req.GetConfig())
	if len(errs) > 0 {
		return nil, errs
	}
	impl, err := part.make(config, Env{Log: log, Node: nodeFromProto(req.GetNode()), Grants: req.GetGrants()})
	if err != nil {
		return nil, fieldErrors("", part.config.fields(), err)
	}
	in = &instance{name: req.GetInstance(), impl: impl, grants: req.GetGrants(), timeout: part.timeout, log: log, delivering: make(chan struct{}, 1)}
	in.prober, _ = impl.(Prober)
	in.reporter, _ = impl.(Reporter)
	if part.isProbe {
		in.reporter = nil
	} else {
		in.prober = nil
	}
	if in.prober == nil && in.reporter == nil {
		return nil, []FieldError{{Message: "the plugin broke: New returned nil"}}
	}
	return in, nil
}

func (p Plugin) part(kind string) (Part, []FieldError) {
	kinds := make([]string, 0, len(p.parts))
	for _, part := range p.parts {
		if part.kind == kind {
			return part, nil
		}
		kinds = append(kinds, part.kind)
	}
	return Part{}, []FieldError{{Message: fmt.Sprintf("kind %q is not offered; valid are %s", kind, strings.Join(kinds, ", "))}}
}

// CheckConfig is what p refuses of a configuration for one of its kinds, a JSON
// object or nothing, before New is called: all that can be told without serving.
func (p Plugin) CheckConfig(kind string, config []byte) []FieldError {
	part, errs := p.part(kind)
	if len(errs) == 0 {
		_, errs = part.config.decode(config)
	}
	return errs
}
