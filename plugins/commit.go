package plugins

import (
	"context"
	"maps"
	"slices"

	"github.com/seahow-uk/nodeprobe/core"
)

// clone keeps a spec apart from what the caller does with it later.
func (s *Spec) clone() *Spec {
	c := *s
	c.Args, c.Grants = slices.Clone(s.Args), slices.Clone(s.Grants)
	c.Env = maps.Clone(s.Env)
	c.Probes, c.Reporters = slices.Clone(s.Probes), slices.Clone(s.Reporters)
	return &c
}

// inherit makes a new supervisor the successor of the old one, with what
// prepare found out.
func (s *supervisor) inherit(c *change) {
	if c.old != nil {
		s.takeOver(c.old)
	}
	switch {
	case c.record != nil:
		s.mu.Lock()
		s.state, s.problem, s.restarts = core.PluginDisabled, c.record.Problem, c.record.Restarts
		s.mu.Unlock()
	case c.failure != nil:
		s.failed(c.failure.problem, c.failure.ran)
	case c.p != nil:
		s.adopt(c.p, 0, nil)
	}
}

// takeOver goes on where old is now.
func (s *supervisor) takeOver(old *supervisor) {
	old.mu.Lock()
	restarts, about, disabled := old.restarts, old.about, old.state == core.PluginDisabled
	old.mu.Unlock()
	s.mu.Lock()
	s.restarts, s.about = restarts, about
	record := s.recordLocked()
	s.mu.Unlock()
	if disabled {
		s.host.save(record) // whoever changed the settings has acted
	}
}

// replaceSpec takes the new settings of a running plugin and returns the
// instances that are gone.
func (s *supervisor) replaceSpec(c *change) (gone []instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := c.spec.instances()
	for _, in := range s.spec.instances() {
		if !slices.ContainsFunc(now, func(o instance) bool { return o.section == in.section && o.name == in.name }) {
			gone = append(gone, in)
		}
	}
	s.spec = c.spec
	s.version++
	s.refused, s.problem = nil, ""
	if p := s.current.Load(); p != nil && p != c.p {
		p.fail(causeStale)
	}
	return gone
}

// granted are the values of what the settings allow the plugin.
func (h *Host) granted(s *Spec) map[string][]byte {
	out := make(map[string][]byte)
	for _, name := range s.Grants {
		if v, ok := h.Grant(name); ok {
			out[name] = v
		}
	}
	return out
}

// pick are the values that names allow.
func pick(names []string, values map[string][]byte) map[string][]byte {
	out := make(map[string][]byte)
	for _, name := range names {
		if v, ok := values[name]; ok {
			out[name] = v
		}
	}
	return out
}

func (s *supervisor) regrant(ctx context.Context) {
	s.mu.Lock()
	spec := s.spec
	s.mu.Unlock()
	p := s.current.Load()
	if p == nil || len(spec.Grants) == 0 {
		return // the next start asks for the values of then
	}
	refused, err := configureAll(ctx, p, spec.instances(), s.host.granted(spec), s.host.Node)
	if err != nil {
		p.fail("did not take its new grants: " + firstLine(err))
		return
	}
	s.mu.Lock()
	if s.current.Load() == p {
		s.problem = ""
		s.refuseLocked(refused)
	}
	s.mu.Unlock()
	for _, e := range refused {
		s.log.Error("plugin refused configuration", "setting", e.Path, "problem", e.Message)
	}
	s.host.Changed()
}
