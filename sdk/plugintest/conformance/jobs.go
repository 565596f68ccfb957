package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/internal/driver"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

const (
	// jobTimeout is what a job has that is expected to be answered.
	jobTimeout = 10 * time.Second
	// shortTimeout is what a job has whose target is silent.
	shortTimeout = time.Second
	// slack is what answers may be late on a busy machine.
	slack = 3 * time.Second
	// manyJobs is enough to fill several messages and all places.
	manyJobs = 1000
)

// target is what the subject says, or a port where nothing listens.
func (p *process) target() sdk.Target {
	if p.subject.Target.Host != "" {
		return p.subject.Target
	}
	return sdk.Target{Host: "127.0.0.1", Port: 1}
}

// instances are the probes that configureAll has made.
func (p *process) instances() []string {
	var list []string
	for _, o := range p.about.GetProbes() {
		list = append(list, o.GetKind())
	}
	return list
}

func (p *process) maxInFlight() int {
	if n := int(p.about.GetMaxInFlight()); n > 0 {
		return n
	}
	return 64
}

// wellFormed holds an answer to what the contract says of results.
func wellFormed(a sdk.Answer) error {
	switch {
	case a.Outcome < sdk.OutcomeSuccess || a.Outcome > sdk.OutcomePluginError:
		return fmt.Errorf("job %d has no outcome", a.JobID)
	case a.Outcome != sdk.OutcomeSuccess && !a.Reason.Valid():
		return fmt.Errorf("job %d: the reason %q is not in the vocabulary", a.JobID, a.Reason)
	case a.Outcome == sdk.OutcomeSuccess && (a.Reason != "" || a.Message != ""):
		return fmt.Errorf("job %d: a success with the reason %q and the message %q", a.JobID, a.Reason, a.Message)
	case len(a.Message) > 256 || !utf8.ValidString(a.Message):
		return fmt.Errorf("job %d: a message of %d bytes, want at most 256", a.JobID, len(a.Message))
	case len(a.Result.Hint) > 256 || !utf8.ValidString(a.Result.Hint):
		return fmt.Errorf("job %d: a hint of %d bytes, want at most 256", a.JobID, len(a.Result.Hint))
	case a.Took < 0 || a.Result.RTT < 0:
		return fmt.Errorf("job %d: took %s with an RTT of %s", a.JobID, a.Took, a.Result.RTT)
	}
	for _, m := range a.Result.Metrics {
		if !matches(wordPattern, m.Name) {
			return fmt.Errorf("job %d: the metric %q is not named like loss_ratio", a.JobID, m.Name)
		}
	}
	return wellFound(a)
}

// wellFound holds findings and documents to the contract.
func wellFound(a sdk.Answer) error {
	if f, d := len(a.Result.Findings), len(a.Result.Documents); f > 8 || d > 4 {
		return fmt.Errorf("job %d: %d findings and %d documents, want at most 8 and 4", a.JobID, f, d)
	}
	for _, f := range a.Result.Findings {
		if !matches(snakePattern, f.Kind) || len(f.Message) > 256 {
			return fmt.Errorf("job %d: the finding %q is not named like mtu_black_hole, or its message has over 256 bytes", a.JobID, f.Kind)
		}
	}
	for _, d := range a.Result.Documents {
		var object map[string]any
		if err := json.Unmarshal(d.JSON, &object); err != nil || len(d.JSON) > 16<<10 || !matches(snakePattern, d.Name) || len(d.ID) > 64 {
			return fmt.Errorf("job %d: the document %q is no JSON object of at most 16 KiB with a name like hops", a.JobID, d.Name)
		}
	}
	return nil
}

// await checks the answers of all flights.
func await(ctx context.Context, flights []*driver.Flight, check func(sdk.Answer) error) error {
	for _, f := range flights {
		a, err := answer(ctx, f)
		if err != nil {
			return err
		}
		if err := errors.Join(wellFormed(a), check(a)); err != nil {
			return err
		}
	}
	return nil
}

// answer waits for one, no longer than a job with jobTimeout may take.
func answer(ctx context.Context, f *driver.Flight) (sdk.Answer, error) {
	wait, cancel := context.WithTimeout(ctx, jobTimeout+slack)
	defer cancel()
	a, err := f.Wait(wait)
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("job %d: no answer within %s", f.ID, jobTimeout+slack)
	}
	return a, err
}

func notPluginError(a sdk.Answer) error {
	if a.Outcome == sdk.OutcomePluginError {
		return fmt.Errorf("job %d is an error of the plugin: %s: %s", a.JobID, a.Reason, a.Message)
	}
	return nil
}

func anything(sdk.Answer) error { return nil }

// with opens a stream for check and closes it: at the end every job has its
// answer, and no answer is left over.
func (p *process) with(ctx context.Context, check func(s *driver.Stream) error) error {
	s, err := driver.Open(ctx, p.api)
	if err != nil {
		return err
	}
	if err := check(s); err != nil {
		err = errors.Join(err, s.Faults())
		s.Abort()
		return err
	}
	return s.Close(ctx)
}

// results keeps max_in_flight, as hosts do.
func results(ctx context.Context, p *process) error {
	return p.with(ctx, func(s *driver.Stream) error {
		var flights []*driver.Flight
		for i := range manyJobs {
			instance := p.instances()[i%len(p.instances())]
			flights = append(flights, s.Go(driver.Job{Instance: instance, Target: p.target(), Timeout: jobTimeout}))
			if len(flights) == p.maxInFlight() {
				if err := await(ctx, flights[:1], notPluginError); err != nil {
					return err
				}
				flights = flights[1:]
			}
		}
		return await(ctx, flights, notPluginError)
	})
}

// silent is a loopback target that accepts and says nothing.
func silent() (t sdk.Target, end func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return t, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var open []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			open = append(open, c)
		}
		for _, c := range open {
			_ = c.Close()
		}
	}()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	return sdk.Target{Host: at.Addr().String(), Port: at.Port()}, func() { _ = l.Close(); <-done }, nil
}

// load asks for jobs at the silent target, as many as there are places.
func (p *process) load(s *driver.Stream, t sdk.Target, timeout time.Duration) []*driver.Flight {
	flights := make([]*driver.Flight, 0, p.maxInFlight())
	for i := range p.maxInFlight() {
		flights = append(flights, s.Go(driver.Job{Instance: p.instances()[i%len(p.instances())], Target: t, Timeout: timeout}))
	}
	return flights
}

func (p *process) withSilent(ctx context.Context, check func(s *driver.Stream, t sdk.Target) error) error {
	t, end, err := silent()
	if err != nil {
		return err
	}
	defer end()
	return p.with(ctx, func(s *driver.Stream) error { return check(s, t) })
}

func deadline(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, shortTimeout+slack)
	defer cancel()
	return p.withSilent(ctx, func(s *driver.Stream, t sdk.Target) error {
		err := await(ctx, p.load(s, t, shortTimeout), notPluginError)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%w: no answer though its timeout is %s", err, shortTimeout)
		}
		return err
	})
}

func cancelation(ctx context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, slack)
	defer cancel()
	return p.withSilent(ctx, func(s *driver.Stream, t sdk.Target) error {
		flights := p.load(s, t, limit)
		s.Cancel(flights...)
		err := await(ctx, flights, anything)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%w: no answer %s after it was canceled", err, slack)
		}
		return err
	})
}

func heartbeats(ctx context.Context, p *process) error {
	return p.withSilent(ctx, func(s *driver.Stream, t sdk.Target) error {
		flights := p.load(s, t, slack)
		for range 10 {
			beat, cancel := context.WithTimeout(ctx, slack)
			err := s.Beat(beat)
			cancel()
			if err != nil {
				return err
			}
		}
		s.Cancel(flights...)
		return await(ctx, flights, anything)
	})
}

func reload(ctx context.Context, p *process) error {
	return p.with(ctx, func(s *driver.Stream) error {
		var flights []*driver.Flight
		for range 20 {
			for range 4 {
				for _, instance := range p.instances() {
					flights = append(flights, s.Go(driver.Job{Instance: instance, Target: p.target(), Timeout: jobTimeout}))
				}
			}
			if err := p.configureAll(ctx); err != nil {
				return err
			}
			if err := await(ctx, flights, notPluginError); err != nil {
				return err
			}
			flights = flights[:0]
		}
		return nil
	})
}

func removal(ctx context.Context, p *process) error {
	for _, instance := range p.instances() {
		resp, err := p.api.Configure(ctx, &pluginv1.ConfigureRequest{Instance: instance, Kind: instance, Remove: true})
		if err != nil || len(resp.GetErrors()) > 0 {
			return fmt.Errorf("remove %s: got %v and %q, want nothing", instance, err, told(resp))
		}
		a, err := p.once(ctx, instance)
		if err != nil {
			return err
		}
		if a.Outcome != sdk.OutcomePluginError {
			return fmt.Errorf("a job for %s, which was removed: got %s, want plugin_error", instance, a.Outcome)
		}
	}
	return p.configureAll(ctx)
}

// hangUp: with leaves the answers to Close, which fails when one is missing.
func hangUp(ctx context.Context, p *process) error {
	return p.withSilent(ctx, func(s *driver.Stream, t sdk.Target) error {
		p.load(s, t, shortTimeout)
		return nil
	})
}

// brokenStream: places of jobs that nobody waits for must come free.
func brokenStream(ctx context.Context, p *process) error {
	t, end, err := silent()
	if err != nil {
		return err
	}
	defer end()
	for range 3 {
		s, err := driver.Open(ctx, p.api)
		if err != nil {
			return err
		}
		p.load(s, t, limit)
		if err := s.Beat(ctx); err != nil {
			return err
		}
		s.Abort()
	}
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	return p.with(ctx, func(s *driver.Stream) error {
		return await(ctx, []*driver.Flight{s.Go(driver.Job{Instance: slices.Min(p.instances()), Target: p.target(), Timeout: jobTimeout})}, notPluginError)
	})
}
