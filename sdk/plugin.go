package sdk

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Defaults of what options leave open.
const (
	defaultInterval    = 30 * time.Second
	defaultTimeout     = 10 * time.Second
	defaultMaxInFlight = 64
	maxMaxInFlight     = 4096
)

// Part is one probe or reporter: what [NewProbe] and [NewReporter] make. It can
// be served by itself, as a plugin of the same name and version.
type Part struct {
	kind, version, summary string
	interval, timeout      time.Duration
	needs, wants           []string
	occasions              []Occasion
	identifies             bool
	counts                 func() map[string]uint64
	maxInFlight            int
	config                 configType
	// make is called with a configuration that config has read; the value is a
	// Prober when isProbe, else a Reporter.
	make    func(config any, env Env) (any, error)
	isProbe bool
}

// NewProbe makes a probe. The kind, like "https", is what an operator writes into
// the configuration; the version is semantic. New is called for every instance
// with its configuration, see [Defaulter]; an error of it refuses the
// configuration.
func NewProbe[C any](kind, version string, new func(C, Env) (Prober, error), opts ...Option) Part {
	p := newPart(kind, version, new, opts)
	p.isProbe = true
	return p
}

// NewReporter makes a reporter, see [NewProbe].
func NewReporter[C any](kind, version string, new func(C, Env) (Reporter, error), opts ...Option) Part {
	return newPart(kind, version, new, opts)
}

func newPart[C, T any](kind, version string, new func(C, Env) (T, error), opts []Option) Part {
	p := Part{kind: kind, version: version, interval: defaultInterval, timeout: defaultTimeout, config: configTypeOf[C]()}
	p.make = func(config any, env Env) (any, error) { return new(*config.(*C), env) }
	for _, o := range opts {
		o(&p)
	}
	if len(p.wants) == 0 {
		p.wants = []string{RecordSnapshot, RecordResult, RecordEvent}
	}
	return p
}

// Plugin is what one process offers.
type Plugin struct {
	name, version string
	parts         []Part
}

// NewPlugin puts several parts into one process: what they share is paid once.
func NewPlugin(name, version string, parts ...Part) Plugin {
	return Plugin{name: name, version: version, parts: parts}
}

// Servable is a [Part] or a [Plugin].
type Servable interface {
	plugin() Plugin
}

func (p Plugin) plugin() Plugin { return p }

func (p Part) plugin() Plugin { return NewPlugin(p.kind, p.version, p) }

// name is what plugins and kinds are called; version is a semantic version.
var (
	namePattern    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	versionPattern = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

// counters is what the parts have counted; of one name, the sum.
func (p Plugin) counters() map[string]uint64 {
	all := make(map[string]uint64)
	for _, part := range p.parts {
		if part.counts == nil {
			continue
		}
		for name, n := range part.counts() {
			all[name] += n
		}
	}
	return all
}

// check tells everything that the author has to correct.
func (p Plugin) check() error {
	errs := []error{checkName("plugin", p.name, p.version)}
	if len(p.parts) == 0 {
		errs = append(errs, errors.New("the plugin has neither probe nor reporter"))
	}
	seen := map[string]bool{}
	for _, part := range p.parts {
		if seen[part.kind] {
			errs = append(errs, fmt.Errorf("kind %q is offered twice", part.kind))
		}
		seen[part.kind] = true
		errs = append(errs, part.check())
	}
	return errors.Join(errs...)
}

func (p Part) check() error {
	errs := []error{checkName("kind", p.kind, p.version)}
	if p.make == nil {
		errs = append(errs, fmt.Errorf("kind %q was not made by NewProbe or NewReporter", p.kind))
		return errors.Join(errs...)
	}
	if p.isProbe && (p.interval <= 0 || p.timeout <= 0) {
		errs = append(errs, fmt.Errorf("kind %q: interval and timeout must be above 0", p.kind))
	}
	if p.maxInFlight < 0 || p.maxInFlight > maxMaxInFlight {
		errs = append(errs, fmt.Errorf("kind %q: got %d jobs in flight, want 1 to %d", p.kind, p.maxInFlight, maxMaxInFlight))
	}
	for _, w := range p.wants {
		if !slices.Contains([]string{RecordSnapshot, RecordResult, RecordEvent}, w) {
			errs = append(errs, fmt.Errorf("kind %q wants %q, which is no kind of record", p.kind, w))
		}
	}
	for _, o := range p.occasions {
		if !slices.Contains(Occasions(), o) {
			errs = append(errs, fmt.Errorf("kind %q: %q is no occasion", p.kind, o))
		}
	}
	if bad := badService(p.needs); bad != "" {
		errs = append(errs, fmt.Errorf("kind %q: %q: want a service named like reflector: a-z, 0-9 and hyphens, at most %d", p.kind, bad, maxServiceName))
	}
	if _, err := p.config.schema(); err != nil {
		errs = append(errs, fmt.Errorf("kind %q: %w", p.kind, err))
	}
	return errors.Join(errs...)
}

func checkName(what, name, version string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%s %q: want a name like dns-lookup: a-z, 0-9 and hyphens, at most 63", what, name)
	}
	if !versionPattern.MatchString(version) {
		return fmt.Errorf("%s %q: version %q is not a semantic version like 1.2.0", what, name, version)
	}
	return nil
}

func (p Plugin) maxInFlight() int {
	n := 0
	for _, part := range p.parts {
		n = max(n, part.maxInFlight)
	}
	if n == 0 {
		return defaultMaxInFlight
	}
	return n
}
