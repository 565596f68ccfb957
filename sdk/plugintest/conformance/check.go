package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Check is one thing that a plugin must do. Every check starts the plugin anew.
type Check struct {
	// Name is like "config-refused".
	Name string
	// Purpose is one sentence.
	Purpose string
	run     func(ctx context.Context, s *Subject) error
}

// ErrNotApplicable tells that the plugin offers nothing that the check is about,
// or that the system has no means for it.
var ErrNotApplicable = errors.New("not applicable")

// ErrNeedsConfig tells that a kind does not take {}, and that [Subject.Config] has
// no configuration for it: the check says nothing of the plugin.
var ErrNeedsConfig = errors.New("needs a configuration")

func notApplicable(why string) error { return fmt.Errorf("%w: %s", ErrNotApplicable, why) }

// limit bounds a check; each takes far less.
const limit = time.Minute

// Run runs the check. The error is nil, [ErrNotApplicable], [ErrNeedsConfig], or one
// sentence about what is wrong, with what the plugin wrote to stderr last.
func (c Check) Run(ctx context.Context, s *Subject) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return c.run(ctx, s)
}

// withProcess is a check of one running plugin.
func withProcess(check func(ctx context.Context, p *process) error) func(context.Context, *Subject) error {
	return func(ctx context.Context, s *Subject) error {
		p, err := s.start(ctx)
		if err != nil {
			return err
		}
		err = check(ctx, p)
		p.end()
		return p.explain(err)
	}
}

// withProbes is a check of a plugin whose probes are configured.
func withProbes(check func(ctx context.Context, p *process) error) func(context.Context, *Subject) error {
	return withProcess(func(ctx context.Context, p *process) error {
		if len(p.about.GetProbes()) == 0 {
			return notApplicable("it offers no probe")
		}
		if err := p.configureAll(ctx); err != nil {
			return err
		}
		return check(ctx, p)
	})
}

// withReporters is a check of a plugin whose reporters are configured.
func withReporters(check func(ctx context.Context, p *process) error) func(context.Context, *Subject) error {
	return withProcess(func(ctx context.Context, p *process) error {
		if len(p.about.GetReporters()) == 0 {
			return notApplicable("it offers no reporter")
		}
		if err := p.configureAll(ctx); err != nil {
			return err
		}
		return check(ctx, p)
	})
}

// Checks are all checks, in the order in which they explain each other.
func Checks() []Check {
	return []Check{
		{"handshake", "starts within 5 s and answers what it offers", withProcess(func(context.Context, *process) error { return nil })},
		{"no-host", "started by hand it says on stderr what it is, and exits", noHost},
		{"describe", "tells the same every time, within 1 s, with good names", withProcess(describe)},
		{"schema", "every configuration has a JSON Schema", withProcess(schemas)},
		{"config-accepted", "takes a good configuration of every kind", withProcess(func(ctx context.Context, p *process) error { return p.configureAll(ctx) })},
		{"config-refused", "refuses a bad configuration and names the field", withProcess(refusals)},
		{"config-kept", "a refused configuration leaves the instance as it was", withProbes(kept)},
		{"unknown", "unknown instances and kinds are errors, not crashes", withProcess(unknown)},
		{"results", "1,000 jobs get exactly one good result each", withProbes(results)},
		{"deadline", "answers by the deadline", withProbes(deadline)},
		{"cancel", "a canceled job is answered soon", withProbes(cancelation)},
		{"heartbeat", "echoes heartbeats while all places are taken", withProbes(heartbeats)},
		{"reload", "a new configuration 20 times under load loses nothing", withProbes(reload)},
		{"remove", "a removed instance takes no more jobs", withProbes(removal)},
		{"hang-up", "answers what it has in hand when the host closes the stream", withProbes(hangUp)},
		{"host-gone", "goes on serving after a stream that broke off", withProbes(brokenStream)},
		{"oversize", "survives a message that is too large", withProcess(oversize)},
		{"deliver", "receipts are honest, and a batch may come twice", withReporters(deliver)},
		{"lifeline", "ends when the host is gone", lifeline},
		{"sigterm", "ends on SIGTERM within 5 s", sigterm},
	}
}
