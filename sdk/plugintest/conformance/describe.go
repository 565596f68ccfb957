package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"google.golang.org/protobuf/proto"

	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// What the contract says of names.
const (
	namePattern    = `^[a-z][a-z0-9-]{0,62}$`
	servicePattern = `^[a-z][a-z0-9-]{0,31}$`
	snakePattern   = `^[a-z][a-z0-9_]{0,63}$`
	wordPattern    = `^[a-z][a-z0-9_.-]{0,63}$`
	versionPattern = `^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`
)

func matches(pattern, s string) bool { return regexp.MustCompile(pattern).MatchString(s) }

// noHost: a person who starts a plugin is told what it is. Nothing goes to stdout,
// which belongs to the handshake.
func noHost(ctx context.Context, s *Subject) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	path, err := filepath.Abs(s.Path) // a bare name would be looked up in PATH
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, s.Args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, time.Second
	cmd.Env = []string{sdk.Handshake.MagicCookieKey + "="}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("started without a host it does not exit within %s", startTimeout)
	case err == nil:
		return errors.New("started without a host it exits with 0, want another status")
	case !errors.As(err, &exit):
		return err
	case strings.TrimSpace(stderr.String()) == "":
		return errors.New("started without a host it says nothing on stderr")
	case stdout.Len() > 0:
		return fmt.Errorf("started without a host it writes to stdout: %.80q", stdout.String())
	}
	return nil
}

// offer is what probes and reporters have in common.
type offer interface {
	GetKind() string
	GetVersion() string
	GetConfigSchema() []byte
	GetNeeds() []string
}

func (p *process) offers() []offer {
	var list []offer
	for _, o := range p.about.GetProbes() {
		list = append(list, o)
	}
	for _, o := range p.about.GetReporters() {
		list = append(list, o)
	}
	return list
}

func describe(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	again, err := p.api.Describe(ctx, &pluginv1.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("the second Describe: %w", err)
	}
	if !proto.Equal(p.about, again) {
		return errors.New("the second Describe differs from the first")
	}
	errs := []error{named("the plugin", p.about.GetName(), p.about.GetVersion())}
	if len(p.offers()) == 0 {
		errs = append(errs, errors.New("it offers neither probe nor reporter"))
	}
	if n := p.about.GetMaxInFlight(); n > 4096 {
		errs = append(errs, fmt.Errorf("max_in_flight is %d, want at most 4096", n))
	}
	seen := map[string]bool{}
	for _, o := range p.offers() {
		if seen[o.GetKind()] {
			errs = append(errs, fmt.Errorf("kind %q is offered twice", o.GetKind()))
		}
		seen[o.GetKind()] = true
		errs = append(errs, named("kind", o.GetKind(), o.GetVersion()))
		for _, need := range o.GetNeeds() {
			if !matches(wordPattern, need) {
				errs = append(errs, fmt.Errorf("kind %q needs %q, which is not the name of a capability", o.GetKind(), need))
			}
		}
	}
	return errors.Join(append(errs, p.checkProbes(), p.checkReporters())...)
}

func named(what, name, version string) error {
	if !matches(namePattern, name) {
		return fmt.Errorf("%s is called %q, want %s", what, name, namePattern)
	}
	if !matches(versionPattern, version) {
		return fmt.Errorf("%s %s has version %q, want a semantic version", what, name, version)
	}
	return nil
}

func (p *process) checkProbes() error {
	var errs []error
	for _, o := range p.about.GetProbes() {
		for _, on := range o.GetOccasions() {
			if !slices.Contains(sdk.Occasions(), sdk.Occasion(on)) {
				errs = append(errs, fmt.Errorf("probe %s wants to run on %q, which is no occasion", o.GetKind(), on))
			}
		}
		interval, timeout := o.GetDefaultInterval().AsDuration(), o.GetDefaultTimeout().AsDuration()
		if interval < 0 || timeout < 0 || interval > 0 && timeout > interval {
			errs = append(errs, fmt.Errorf("probe %s has the timeout %s in an interval of %s", o.GetKind(), timeout, interval))
		}
	}
	return errors.Join(errs...)
}

func (p *process) checkReporters() error {
	var errs []error
	for _, o := range p.about.GetReporters() {
		if len(o.GetWants()) == 0 {
			errs = append(errs, fmt.Errorf("reporter %s wants no records", o.GetKind()))
		}
		for _, kind := range o.GetWants() {
			if !slices.Contains([]string{sdk.RecordSnapshot, sdk.RecordResult, sdk.RecordEvent}, kind) {
				errs = append(errs, fmt.Errorf("reporter %s wants %q, which is no kind of record", o.GetKind(), kind))
			}
		}
	}
	return errors.Join(errs...)
}

// schemas: a configuration without a schema cannot be explained to an operator.
func schemas(_ context.Context, p *process) error {
	var errs []error
	for _, o := range p.offers() {
		s, err := schemaOf(o)
		if err == nil {
			_, err = s.Resolve(nil)
		}
		if err == nil && s.Type != "object" {
			err = fmt.Errorf("has the type %q, want object", s.Type)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("the schema of %s: %w", o.GetKind(), err))
		}
	}
	return errors.Join(errs...)
}

func schemaOf(o offer) (*jsonschema.Schema, error) {
	s := &jsonschema.Schema{}
	if err := json.Unmarshal(o.GetConfigSchema(), s); err != nil {
		return nil, err
	}
	return s, nil
}
