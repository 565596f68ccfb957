package plugins

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/seahow-uk/nodeprobe/core"
)

// change is what Apply does to one plugin: nothing until it is committed but
// what abort can take back.
type change struct {
	spec *Spec
	old  *supervisor // nil: the plugin is new
	next *supervisor // nil: old goes on, with spec
	p    *process    // started for next, or reconfigured for old; may be nil

	refused ConfigErrors
	failure *startError
	record  *core.PluginRecord // next stays disabled
	done    []instance         // taken by a running process
	lost    error              // the running process did not answer
	gone    []instance         // to be dropped by it
}

// Apply makes specs the running set: it starts what is new, ends what is gone
// and reconfigures what changed, without losing a result. A plugin that cannot
// be started is no error: it is kept, its probes answer with plugin errors, and
// it is tried again. The error is ConfigErrors when settings are bad or a
// running plugin refused them; then the running set is unchanged.
func (h *Host) Apply(ctx context.Context, specs []Spec) error {
	if bad := validate(specs); len(bad) > 0 {
		return bad
	}
	h.applying.Lock()
	defer h.applying.Unlock()
	if h.runDirErr != nil {
		return h.runDirErr
	}
	if h.ctx.Err() != nil {
		return ErrStopped
	}
	disabled, err := h.remembered(ctx)
	if err != nil {
		return fmt.Errorf("read plugins' state: %w", err)
	}
	changes := h.plan(specs, disabled)
	h.prepare(ctx, changes)
	bad := h.refusals(changes)
	if len(bad) > 0 || ctx.Err() != nil || h.ctx.Err() != nil {
		h.abort(changes)
		if len(bad) > 0 {
			return bad
		}
		return cmp.Or(ctx.Err(), ErrStopped)
	}
	h.commit(specs, changes)
	return nil
}

// plan lists what is new or changed.
func (h *Host) plan(specs []Spec, disabled map[string]core.PluginRecord) []*change {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*change
	for i := range specs {
		c := &change{spec: specs[i].clone(), old: h.plugins[specs[i].Name]}
		switch {
		case c.old == nil:
			c.next = newSupervisor(h, c.spec, nil)
			if r, ok := disabled[c.spec.Name]; ok && !c.spec.Builtin {
				c.record = &r
			}
		case c.old.spec.equal(c.spec):
			continue
		case !c.old.spec.sameProcess(c.spec) || c.old.current.Load() == nil:
			c.next = newSupervisor(h, c.spec, c.old)
		}
		list = append(list, c)
	}
	return list
}

// prepare starts and configures, all plugins side by side.
func (h *Host) prepare(ctx context.Context, changes []*change) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	var wg sync.WaitGroup
	for _, c := range changes {
		switch {
		case c.record != nil:
		case c.next != nil:
			wg.Go(func() { c.p, c.refused, c.failure = c.next.bring(ctx, c.spec) })
		default:
			wg.Go(func() { h.reconfigure(ctx, c) })
		}
	}
	wg.Wait()
}

// reconfigure offers changed and new instances to a running process. One that
// does not answer is in an unknown state: commit and abort end it.
func (h *Host) reconfigure(ctx context.Context, c *change) {
	if c.p = c.old.current.Load(); c.p == nil {
		return
	}
	grants := h.granted(c.spec)
	regrant := !slices.Equal(c.old.spec.Grants, c.spec.Grants)
	before := c.old.spec.instances()
	for _, in := range c.spec.instances() {
		if slices.Contains(before, in) && !regrant && c.old.refusal(in.section+"."+in.name) == "" {
			continue
		}
		refused, err := c.p.configure(ctx, in, grants, h.Node)
		if err != nil {
			c.lost = err
			return
		}
		c.refused = append(c.refused, refused...)
		if len(refused) == 0 {
			c.done = append(c.done, in)
		}
	}
}

func (h *Host) refusals(changes []*change) (bad ConfigErrors) {
	for _, c := range changes {
		bad = append(bad, c.refused...)
	}
	slices.SortFunc(bad, func(a, b ConfigError) int { return cmp.Compare(a.Path, b.Path) })
	return bad
}

// abort takes back what prepare did.
func (h *Host) abort(changes []*change) {
	var wg sync.WaitGroup
	for _, c := range changes {
		switch {
		case c.next != nil:
			c.next.retire()
			if c.p != nil {
				wg.Go(c.p.stop)
			}
		case c.p != nil:
			wg.Go(func() { h.undo(c) })
		}
	}
	wg.Wait()
}

// giveUp ends a process of which nobody knows how it is configured; the next one
// starts with the settings in force.
func (c *change) giveUp() { c.p.fail("did not take its new configuration: " + firstLine(c.lost)) }

// undo gives a running process its former instances again.
func (h *Host) undo(c *change) {
	if c.lost != nil {
		c.giveUp()
		return
	}
	grants := h.granted(c.old.spec)
	before := c.old.spec.instances()
	for _, in := range c.done {
		i := slices.IndexFunc(before, func(o instance) bool { return o.section == in.section && o.name == in.name })
		var err error
		if i >= 0 {
			_, err = c.p.configure(h.ctx, before[i], grants, h.Node)
		} else {
			err = c.p.remove(h.ctx, in)
		}
		if err != nil {
			c.p.fail("did not take its former configuration back")
			return
		}
	}
}

// commit makes the changes visible: first where jobs go, then the end of what
// no job reaches any more.
func (h *Host) commit(specs []Spec, changes []*change) {
	for _, c := range changes {
		if c.next != nil {
			c.next.inherit(c)
		} else {
			c.gone = c.old.replaceSpec(c)
			if c.lost != nil {
				c.giveUp()
			}
		}
	}
	for _, s := range h.swap(specs, changes) {
		s.retire()
	}
	for _, c := range changes {
		if c.next != nil {
			h.supervised.Go(func() { c.next.run(c.p) })
		} else {
			h.drop(c)
		}
	}
	h.Changed()
}

// swap puts the new set into place and returns who has no place in it.
func (h *Host) swap(specs []Spec, changes []*change) (out []*supervisor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.plugins
	h.plugins = make(map[string]*supervisor, len(specs))
	for i := range specs {
		if s, ok := before[specs[i].Name]; ok {
			h.plugins[s.name] = s
		}
	}
	for _, c := range changes {
		if c.next != nil {
			h.plugins[c.next.name] = c.next
		}
	}
	h.routeLocked()
	for name, s := range before {
		if h.plugins[name] != s {
			out = append(out, s)
		}
	}
	return out
}

func (h *Host) routeLocked() {
	r := &routes{probes: make(map[string]*supervisor), reporters: make(map[string]*supervisor)}
	for _, s := range h.plugins {
		for _, p := range s.spec.Probes {
			r.probes[p.Name] = s
		}
		for _, rep := range s.spec.Reporters {
			r.reporters[rep.Name] = s
		}
	}
	h.routes.Store(r)
}

// drop removes instances that no job is addressed to any more.
func (h *Host) drop(c *change) {
	for _, in := range c.gone {
		if c.p == nil || c.p.remove(h.ctx, in) != nil {
			return // its successor never gets them
		}
	}
}

// Regrant gives every running plugin with grants their current values, by
// configuring all its instances again.
func (h *Host) Regrant(ctx context.Context) {
	h.applying.Lock()
	defer h.applying.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	var wg sync.WaitGroup
	for _, s := range h.list() {
		wg.Go(func() { s.regrant(ctx) })
	}
	wg.Wait()
}
