package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/store"
	"github.com/seahow-uk/nodeprobe/web"
)

// mishapFor is how long the health tells what happened to the database file: until
// somebody has looked.
const mishapFor = 6 * time.Hour

// mishap is what happened to the database file last.
type mishap struct {
	at   time.Time
	text string
}

// schedulerStall is over the scheduler's longest sleep of 10 s.
const schedulerStall = 30 * time.Second

// checkHealth looks at the parts that a node cannot do its work without.
func (n *node) checkHealth(ctx context.Context) web.Health {
	return web.Health{Checks: []web.Check{n.checkDatabase(ctx), n.checkScheduler(), n.checkPlugins(), n.checkConfiguration()}}
}

func (n *node) checkDatabase(ctx context.Context) web.Check {
	c := web.Check{Name: "database"}
	if err := n.store.Check(ctx); err != nil {
		c.Problem, c.Warning = err.Error(), errors.Is(err, store.ErrPaused) // a restart would lose what waits
		if waiting := n.engine.Stats().Unsaved; waiting > 0 {
			c.Problem += fmt.Sprintf("; %d results wait in memory", waiting)
		}
		return c
	}
	c.Warning = true
	var problems []string
	if m := n.mishap.Load(); m != nil && time.Since(m.at) < mishapFor {
		problems = append(problems, m.text+" ("+m.at.UTC().Format(time.RFC3339)+")")
	}
	st, err := n.store.Storage(ctx)
	switch short := shortHistory(st, time.Now()); {
	case err != nil:
		problems = append(problems, err.Error())
	case short != "":
		problems = append(problems, short)
	}
	c.Problem = strings.Join(problems, "; ")
	return c
}

func (n *node) checkScheduler() web.Check {
	c := web.Check{Name: "scheduler"}
	switch s := n.engine.Stats(); {
	case time.Since(s.LastTick) > schedulerStall:
		c.Problem = fmt.Sprintf("the scheduler has not run for %s", time.Since(s.LastTick).Round(time.Second))
	case s.Probes == 0:
		c.Problem = "no probe is configured"
	case s.Unsaved > 0 && s.Dropped > 0:
		c.Problem, c.Warning = fmt.Sprintf("%d results could not be stored and are lost", s.Dropped), true
	}
	return c
}

// checkPlugins fails when no probe can tell whether peers are alive; any other
// plugin's trouble is a warning.
func (n *node) checkPlugins() web.Check {
	c := web.Check{Name: web.CheckPlugins, Warning: true}
	var problems []string
	for _, p := range n.host.Status() {
		trouble := p.Trouble()
		if trouble == "" {
			continue
		}
		problems = append(problems, p.Name+" "+trouble)
		// One that was disabled before this start has not told what it offers.
		if p.State != core.PluginRunning && (n.identifies(p) || p.Builtin && len(p.Probes) > 0) {
			c.Warning = false
		}
	}
	c.Problem = strings.Join(problems, "; ")
	return c
}

// checkConfiguration warns while the files say something that is not in force.
func (n *node) checkConfiguration() web.Check {
	var problems []string
	for _, e := range n.journal.Open() {
		if e.Kind == core.EventConfigRejected {
			problems = append(problems, "what the files say is refused, the configuration before stays in force: "+e.Message)
		}
	}
	if pending := needRestart(n.started, n.config()); len(pending) > 0 {
		problems = append(problems, "changed settings wait for a restart of the node: "+strings.Join(pending, ", "))
	}
	return web.Check{Name: configuration, Warning: true, Problem: strings.Join(problems, "; ")}
}

func (n *node) identifies(p core.PluginStatus) bool {
	return slices.ContainsFunc(n.host.Probes(), func(info core.ProbeInfo) bool {
		return info.Plugin == p.Name && info.Identifies
	})
}
