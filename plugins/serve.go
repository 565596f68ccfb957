package plugins

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seahow-uk/nodeprobe/core"
)

// Defaults of a probe for which neither the settings nor the plugin, which may
// not have started yet, give one.
const (
	fallbackInterval = 30 * time.Second
	fallbackTimeout  = 10 * time.Second
)

// submit answers or passes on j; false when the plugin is being replaced.
func (s *supervisor) submit(j core.Job) bool {
	if j.Timeout <= 0 {
		j.Timeout = s.timeout(j.Probe)
	}
	p := s.current.Load()
	if p == nil {
		if s.ctx.Err() != nil && s.host.ctx.Err() == nil {
			return false
		}
		s.refuse(j, core.ReasonPluginUnavailable, s.unavailable())
		return true
	}
	if problem := s.refusal("probes." + j.Probe); problem != "" {
		s.refuse(j, core.ReasonPluginUnavailable, problem)
		return true
	}
	switch p.stream.offer(j, time.Now()) {
	case queueFull:
		s.refuse(j, core.ReasonPluginBusy, fmt.Sprintf("%d runs wait for plugin %s already", s.host.QueueLimit, s.name))
	case closing:
		if s.ctx.Err() != nil && s.host.ctx.Err() == nil {
			return false
		}
		s.refuse(j, core.ReasonPluginUnavailable, s.unavailable())
	}
	return true
}

func (s *supervisor) refuse(j core.Job, reason core.Reason, message string) {
	s.answer([]core.Result{{Job: j, Outcome: core.OutcomePluginError, Reason: reason, Message: core.CleanText(message, maxMessageText)}})
}

// answer counts results and hands them to the engine.
func (s *supervisor) answer(rs []core.Result) {
	for i := range rs {
		s.counts.jobs[rs[i].Outcome].Add(1)
	}
	s.host.out.add(rs...)
}

func (s *supervisor) unavailable() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem == "" {
		return "plugin " + s.name + " is " + string(s.state)
	}
	return "plugin " + s.name + " " + s.problem
}

func (s *supervisor) refusal(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused) == 0 {
		return ""
	}
	return s.refused[path]
}

func (s *supervisor) timeout(probe string) time.Duration {
	for _, info := range s.probes() {
		if info.Name == probe {
			return info.Timeout
		}
	}
	return fallbackTimeout
}

func (s *supervisor) deliver(ctx context.Context, reporter string, recs []core.Record) (core.Receipt, error) {
	p := s.current.Load()
	if p == nil {
		return core.Receipt{}, fmt.Errorf("%w: %s", ErrUnavailable, s.unavailable())
	}
	if problem := s.refusal("reporters." + reporter); problem != "" {
		return core.Receipt{}, fmt.Errorf("%w: %s", ErrUnavailable, problem)
	}
	r, err := p.rpc.Deliver(ctx, batchOf(reporter, recs))
	switch {
	case err == nil:
		return receiptOf(r, recs), nil
	case ctx.Err() != nil:
		return core.Receipt{}, ctx.Err()
	case status.Code(err) == codes.ResourceExhausted:
		return core.Receipt{Problem: "the batch is larger than the plugin takes"}, nil
	default:
		return core.Receipt{}, fmt.Errorf("%w: deliver to %s: %s", ErrUnavailable, reporter, firstLine(err))
	}
}

func (s *supervisor) status() core.PluginStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := core.PluginStatus{
		Name: s.name, Version: s.about.Version, Builtin: s.spec.Builtin, State: s.state, Problem: s.problemLocked(),
		Restarts: s.restarts, DroppedLogBytes: s.counts.dropped.Load(), Jobs: make(map[string]uint64),
	}
	for _, p := range s.spec.Probes {
		out.Probes = append(out.Probes, p.Name)
	}
	for _, r := range s.spec.Reporters {
		out.Reporters = append(out.Reporters, r.Name)
	}
	for o := range s.counts.jobs {
		if n := s.counts.jobs[o].Load(); n > 0 {
			out.Jobs[core.Outcome(o).String()] = n
		}
	}
	if p := s.current.Load(); p != nil {
		out.PID, out.Started = p.child.PID(), s.started
		out.InFlight, out.Queued = p.stream.load()
		if counters := p.counters.Load(); counters != nil {
			out.Counters = *counters
		}
	}
	return out
}

// probes tells of the configured probes: their settings, else the plugin's
// defaults, else the fallbacks.
func (s *supervisor) probes() []core.ProbeInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]core.ProbeInfo, 0, len(s.spec.Probes))
	for _, p := range s.spec.Probes {
		kind, _ := s.about.probe(p.Kind)
		out = append(out, core.ProbeInfo{
			Name: p.Name, Plugin: s.name, Kind: p.Kind, Identifies: kind.Identifies, Occasions: kind.Occasions,
			Interval: firstSet(p.Interval, kind.Interval, fallbackInterval),
			Timeout:  firstSet(p.Timeout, kind.Timeout, fallbackTimeout),
		})
	}
	return out
}

func firstSet(ds ...time.Duration) time.Duration {
	for _, d := range ds {
		if d > 0 {
			return d
		}
	}
	return 0
}

func (s *supervisor) reporters() []core.ReporterInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]core.ReporterInfo, 0, len(s.spec.Reporters))
	for _, r := range s.spec.Reporters {
		kind, _ := s.about.reporter(r.Kind)
		out = append(out, core.ReporterInfo{Name: r.Name, Plugin: s.name, Kind: r.Kind, Wants: kind.Wants})
	}
	return out
}
