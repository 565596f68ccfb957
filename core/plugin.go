package core

import (
	"strings"
	"time"
)

// ProbeInfo describes a probe instance that the host can run.
type ProbeInfo struct {
	// Name of the instance: what jobs are addressed to.
	Name     string
	Plugin   string
	Kind     string
	Interval time.Duration
	Timeout  time.Duration
	// Identifies tells that a run proves who the target is: such a probe
	// admits candidates and decides whether a peer is alive.
	Identifies bool
	// Occasions on which it wants to run, beside its interval.
	Occasions []Occasion
}

// PluginState is where a plugin process is in its life.
type PluginState string

// The states of a plugin.
const (
	PluginStarting PluginState = "starting"
	PluginRunning  PluginState = "running"
	PluginBackoff  PluginState = "backoff"  // ended; will be started again
	PluginDisabled PluginState = "disabled" // crashed too often, or cannot be started; an operator must act
	PluginStopped  PluginState = "stopped"
)

// PluginStatus is what is known of one plugin process.
type PluginStatus struct {
	Name    string
	Version string
	Builtin bool
	State   PluginState
	PID     int
	// Problem says, in words that follow its name, why it does not run as it
	// should; empty when it does. See Trouble.
	Problem   string
	Probes    []string // names of instances
	Reporters []string
	Started   time.Time
	// Restarts is how often a process came to serve after one that had ended;
	// attempts that failed are not among them.
	Restarts int
	// Jobs counts results by outcome since the host started.
	Jobs map[string]uint64
	// InFlight and Queued are jobs now.
	InFlight, Queued int
	// Counters are what the process has counted since it began, by names of its own.
	Counters map[string]uint64
	// DroppedLogBytes counts stderr output over the rate limit.
	DroppedLogBytes uint64
}

// Trouble says, in words that follow the plugin's name, that it does not serve as
// it should, and why; empty when it does.
func (p PluginStatus) Trouble() string {
	var words string
	switch p.State {
	case PluginRunning:
		return p.Problem
	case PluginBackoff:
		words = "waits to be started again"
	default:
		words = "is " + string(p.State)
	}
	switch {
	case p.Problem == "":
		return words
	case strings.HasPrefix(p.Problem, string(p.State)+" "): // disabled after so many crashes
		return "is " + p.Problem
	default:
		return words + ": " + p.Problem
	}
}

// PluginRecord is what is remembered of a plugin across restarts of the host.
type PluginRecord struct {
	Name string
	// Disabled until an operator acts, with the reason in Problem.
	Disabled bool
	Problem  string
	Restarts int
	// Changed is when the record was last written.
	Changed time.Time
}
