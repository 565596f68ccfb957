package sdk

import (
	"slices"
	"time"
)

// Option says more about a probe or reporter.
type Option func(*Part)

// Summary is one sentence for people.
func Summary(s string) Option { return func(p *Part) { p.summary = s } }

// Interval is how often the probe runs by default; 30 s when nothing is said.
func Interval(d time.Duration) Option { return func(p *Part) { p.interval = d } }

// Timeout is how long a run may take by default; 10 s when nothing is said.
func Timeout(d time.Duration) Option { return func(p *Part) { p.timeout = d } }

// Needs asks for capabilities. Those that the operator grants are in Env.Grants.
func Needs(capabilities ...string) Option {
	return func(p *Part) { p.needs = append(slices.Clone(p.needs), capabilities...) }
}

// Identifies tells that a run proves who the target is, so that it admits nodes
// and decides whether a peer is alive.
func Identifies() Option { return func(p *Part) { p.identifies = true } }

// Wants lists the kinds of records that the reporter takes: [RecordSnapshot],
// [RecordResult], [RecordEvent]. All of them when nothing is said.
func Wants(kinds ...string) Option {
	return func(p *Part) { p.wants = append(slices.Clone(p.wants), kinds...) }
}

// Counts tells what the process has counted that is of no run, as packets of
// strangers: numbers that only grow, by names like "reflector_wrong_key_packets"
// (lower-case letters, digits and underscores), at most 32 of a process. The host
// shows them with the plugin. Count is called every few seconds, from any goroutine.
func Counts(count func() map[string]uint64) Option {
	return func(p *Part) { p.counts = count }
}

// MaxInFlight bounds how many jobs the process takes at once, 1 to 4096; 64 when
// nothing is said. In a plugin of several parts the largest number holds.
func MaxInFlight(n int) Option { return func(p *Part) { p.maxInFlight = n } }
