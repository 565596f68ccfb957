package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/internal/driver"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// strange is a key that no configuration has.
const strange = "nodeprobe_conformance"

// request configures an instance that is called as its kind.
func (p *process) request(kind string, config []byte) *pluginv1.ConfigureRequest {
	return &pluginv1.ConfigureRequest{
		Instance: kind, Kind: kind, Config: config, Grants: p.subject.Grants,
		Node: sdk.NodeToProto(sdk.NodeInfo{ID: "00000000-0000-8000-8000-000000000001", FQDN: "conformance.test", Version: "1.0.0", BootID: "conformance"}),
	}
}

func (p *process) good(kind string) []byte {
	if c := p.subject.Config[kind]; len(c) > 0 {
		return c
	}
	return []byte("{}")
}

// configureAll makes one instance of every kind.
func (p *process) configureAll(ctx context.Context) error {
	for _, o := range p.offers() {
		if err := p.configure(ctx, o.GetKind()); err != nil {
			return err
		}
	}
	return nil
}

func (p *process) configure(ctx context.Context, kind string) error {
	resp, err := p.api.Configure(ctx, p.request(kind, p.good(kind)))
	if err != nil {
		return fmt.Errorf("configure %s with %s: %w", kind, p.good(kind), err)
	}
	if len(resp.GetErrors()) > 0 && len(p.subject.Config[kind]) == 0 {
		return fmt.Errorf("%w: %s refuses {}: %s", ErrNeedsConfig, kind, told(resp))
	}
	if len(resp.GetErrors()) > 0 {
		return fmt.Errorf("configuration %s of %s is refused: %s", p.good(kind), kind, told(resp))
	}
	return p.checkServices(kind, resp)
}

// checkServices: only what a kind needs and was granted may run.
func (p *process) checkServices(kind string, resp *pluginv1.ConfigureResponse) error {
	i := slices.IndexFunc(p.offers(), func(o offer) bool { return o.GetKind() == kind })
	for _, s := range resp.GetServices() {
		capability := sdk.CapabilityService(s.GetName())
		switch {
		case !matches(servicePattern, s.GetName()) || s.GetPort() == 0 || s.GetPort() > math.MaxUint16:
			return fmt.Errorf("%s runs the service %q at port %d, want %s and a port", kind, s.GetName(), s.GetPort(), servicePattern)
		case !slices.Contains(p.offers()[i].GetNeeds(), capability) || len(p.subject.Grants[capability]) == 0:
			return fmt.Errorf("%s runs the service %q without the grant of %q", kind, s.GetName(), capability)
		case len(s.GetKey()) > 0:
			return fmt.Errorf("%s tells a key of the service %q", kind, s.GetName())
		}
	}
	return nil
}

func told(resp *pluginv1.ConfigureResponse) string {
	var list []string
	for _, e := range resp.GetErrors() {
		list = append(list, strings.TrimPrefix(e.GetField()+": "+e.GetMessage(), ": "))
	}
	return strings.Join(list, "; ")
}

// bad is a configuration to be refused; field is what the refusal must name.
type bad struct {
	config []byte
	field  string
}

// badConfigs are made from the good one and the schema: an unknown key, a value
// of another type for every property, and what is no object.
func badConfigs(good []byte, s *jsonschema.Schema) ([]bad, error) {
	list := []bad{{[]byte(`[]`), ""}, {[]byte(`"text"`), ""}, {[]byte(`{`), ""}}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(good, &members); err != nil {
		return nil, fmt.Errorf("the good configuration: %w", err)
	}
	with := func(key, value string) error {
		changed := maps.Clone(members)
		changed[key] = json.RawMessage(value)
		data, err := json.Marshal(changed)
		list = append(list, bad{data, key})
		return err
	}
	if err := with(strange, "true"); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if wrong := wrongFor(s.Properties[name]); wrong != "" {
			if err := with(name, wrong); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// wrongFor is a value of a type that the property does not take; empty when it
// takes them all.
func wrongFor(s *jsonschema.Schema) string {
	if s == nil || s.Type == "" && len(s.Types) == 0 {
		return ""
	}
	types := append(slices.Clone(s.Types), s.Type)
	switch {
	case !slices.Contains(types, "object"):
		return `{"` + strange + `": 1}`
	case !slices.Contains(types, "boolean"):
		return "true"
	default:
		return ""
	}
}

func refusals(ctx context.Context, p *process) error {
	var errs []error
	for _, o := range p.offers() {
		s, err := schemaOf(o)
		if err != nil {
			errs = append(errs, fmt.Errorf("the schema of %s: %w", o.GetKind(), err))
			continue
		}
		list, err := badConfigs(p.good(o.GetKind()), s)
		if err != nil {
			return err
		}
		for _, b := range list {
			errs = append(errs, p.refused(ctx, o.GetKind(), b))
		}
	}
	return errors.Join(errs...)
}

func (p *process) refused(ctx context.Context, kind string, b bad) error {
	resp, err := p.api.Configure(ctx, p.request(kind, b.config))
	if err != nil {
		return fmt.Errorf("%s: the bad configuration %s is an error of the call, want one in the response: %w", kind, b.config, err)
	}
	if len(resp.GetErrors()) == 0 {
		return fmt.Errorf("%s: the bad configuration %s is accepted", kind, b.config)
	}
	for _, e := range resp.GetErrors() {
		if e.GetMessage() == "" {
			return fmt.Errorf("%s: the refusal of %s has no message", kind, b.config)
		}
		if b.field == "" || e.GetField() == b.field || strings.HasPrefix(e.GetField(), b.field+".") || strings.HasPrefix(e.GetField(), b.field+"[") {
			return nil
		}
	}
	return fmt.Errorf("%s: the refusal of %s does not name the field %q: %s", kind, b.config, b.field, told(resp))
}

// kept: a typing error in the configuration must not stop what runs.
func kept(ctx context.Context, p *process) error {
	kind := p.about.GetProbes()[0].GetKind()
	if err := p.refused(ctx, kind, bad{[]byte(`{"` + strange + `": true}`), strange}); err != nil {
		return err
	}
	return p.serves(ctx, kind)
}

// serves runs one job that must not be an error of the plugin.
func (p *process) serves(ctx context.Context, instance string) error {
	a, err := p.once(ctx, instance)
	if err != nil {
		return err
	}
	if a.Outcome == sdk.OutcomePluginError {
		return fmt.Errorf("probe %s does not serve any more: %s", instance, a.Message)
	}
	return nil
}

func (p *process) once(ctx context.Context, instance string) (sdk.Answer, error) {
	s, err := driver.Open(ctx, p.api)
	if err != nil {
		return sdk.Answer{}, err
	}
	a, err := answer(ctx, s.Go(driver.Job{Instance: instance, Target: p.target(), Timeout: jobTimeout}))
	if err != nil {
		s.Abort()
		return a, err
	}
	return a, errors.Join(wellFormed(a), s.Close(ctx))
}

func unknown(ctx context.Context, p *process) error {
	resp, err := p.api.Configure(ctx, p.request("nodeprobe-conformance", []byte("{}")))
	if err != nil || len(resp.GetErrors()) == 0 {
		return fmt.Errorf("an unknown kind: got %v and %q, want a refusal in the response", err, told(resp))
	}
	a, err := p.once(ctx, "nodeprobe-conformance")
	if err != nil {
		return fmt.Errorf("a job for an unknown instance: %w", err)
	}
	if a.Outcome != sdk.OutcomePluginError || a.Message == "" {
		return fmt.Errorf("a job for an unknown instance: got %s with the message %q, want plugin_error with one", a.Outcome, a.Message)
	}
	if _, err := p.api.Deliver(ctx, sdk.BatchToProto("nodeprobe-conformance", sdk.Batch{})); err == nil {
		return errors.New("a batch for an unknown reporter is taken, want an error")
	}
	return p.alive(ctx)
}

// alive: the process still answers.
func (p *process) alive(ctx context.Context) error {
	if _, err := p.api.Health(ctx, &pluginv1.HealthRequest{}); err != nil {
		return fmt.Errorf("the plugin does not answer any more: %w", err)
	}
	return nil
}
