// Package core is the domain of NodeProbe and its engine: nodes, paths, jobs,
// results, events, and the scheduler that turns peers and probes into jobs.
//
// The package declares the small interfaces that it needs. It knows neither
// the plugins nor the web server nor which probes exist: a probe is a name, an
// interval and a timeout, and what a run measured is a list of named metrics.
package core
