package web

import (
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// selfJSON is the node that answers.
type selfJSON struct {
	ID      core.NodeID `json:"id"`
	Name    string      `json:"name"`
	FQDN    string      `json:"fqdn"`
	IP      string      `json:"ip"`
	Port    uint16      `json:"port"`
	SPKI    string      `json:"spki_sha256"`
	Version string      `json:"version"`
	BootID  string      `json:"boot_id"`
	Started time.Time   `json:"started"`
	Uptime  int64       `json:"uptime_seconds"`
}

func newSelfJSON(self core.Self, ip string) selfJSON {
	return selfJSON{
		ID: self.ID, Name: selfName(self), FQDN: self.FQDN, IP: ip, Port: self.Advertise.Port,
		SPKI: self.Key.String(), Version: self.Version, BootID: self.BootID,
		Started: self.Started.UTC(), Uptime: int64(time.Since(self.Started) / time.Second),
	}
}

func selfName(self core.Self) string {
	return core.Node{ID: self.ID, FQDN: self.FQDN, Endpoints: []core.Endpoint{self.Advertise}}.Name()
}

// nodeJSON is a peer as self knows it.
type nodeJSON struct {
	ID           core.NodeID `json:"id"`
	Name         string      `json:"name"`
	FQDN         string      `json:"fqdn"`
	IP           string      `json:"ip"`
	Endpoints    []string    `json:"endpoints"`
	SPKI         string      `json:"spki_sha256"`
	Proven       bool        `json:"proven"`
	Version      string      `json:"version"`
	BootID       string      `json:"boot_id"`
	DiscoveredBy string      `json:"discovered_by"`
	Seed         bool        `json:"seed"`
	State        core.State  `json:"state"`
	IsActive     bool        `json:"is_active"`
	Reason       core.Reason `json:"reason"`
	Message      string      `json:"message"`
	Since        *time.Time  `json:"since"`
	FirstSeen    *time.Time  `json:"first_seen"`
	LastSeen     *time.Time  `json:"last_seen"`
	Failures     int         `json:"failures"`
	// Paths are self's latest results by probe; absent in the stream.
	Paths []ownPath `json:"paths,omitempty"`
	// Findings are what holds on the path to it; absent in the stream.
	Findings []findingJSON `json:"findings,omitempty"`
}

// ownPath is a cell of self's row.
type ownPath struct {
	wire.Path
	// Identifies marks that of the probe which decides who is alive.
	Identifies bool `json:"identifies,omitempty"`
	// Attributes are the facts beside the figures, where one node is asked for.
	Attributes map[string]string `json:"attributes,omitempty"`
}

// findingJSON is a condition on the path from self to a node.
type findingJSON struct {
	Probe   string         `json:"probe"`
	Kind    core.EventKind `json:"kind"`
	Message string         `json:"message"`
	Since   time.Time      `json:"since"`
}

func (s *Server) findings() map[core.NodeID][]findingJSON {
	out := map[core.NodeID][]findingJSON{}
	for _, f := range s.engine.Findings() {
		out[f.Node] = append(out[f.Node], findingJSON{f.Probe, f.Kind, f.Message, f.Since.UTC()})
	}
	return out
}

func newNodeJSON(n core.Node) nodeJSON {
	out := nodeJSON{
		ID: n.ID, Name: n.Name(), FQDN: n.FQDN, Endpoints: make([]string, 0, len(n.Endpoints)),
		SPKI: n.Key.String(), Proven: n.Proven, Version: n.Version, BootID: n.BootID,
		DiscoveredBy: n.DiscoveredBy, Seed: n.Seed, State: n.State, IsActive: n.State.Active(),
		Reason: n.Reason, Message: n.Message, Since: stamp(n.Since),
		FirstSeen: stamp(n.FirstSeen), LastSeen: stamp(n.LastSeen), Failures: n.Failures,
	}
	if ip := n.IP(); ip.IsValid() {
		out.IP = ip.String()
	}
	for _, e := range n.Endpoints {
		out.Endpoints = append(out.Endpoints, e.String())
	}
	return out
}

// stamp is null for the zero time: never.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// probeJSON is an instance of a probe.
type probeJSON struct {
	Name       string  `json:"name"`
	Plugin     string  `json:"plugin"`
	Kind       string  `json:"kind"`
	Interval   float64 `json:"interval_seconds"`
	Timeout    float64 `json:"timeout_seconds"`
	Identifies bool    `json:"identifies"`
	// Occasions on which it also runs.
	Occasions []core.Occasion `json:"occasions,omitempty"`
	// StaleAfter is when a result says nothing about now any more: three
	// intervals.
	StaleAfter float64 `json:"stale_after_seconds"`
}

func newProbesJSON(probes []core.ProbeInfo) []probeJSON {
	out := make([]probeJSON, 0, len(probes))
	for _, p := range probes {
		out = append(out, probeJSON{
			Name: p.Name, Plugin: p.Plugin, Kind: p.Kind, Interval: p.Interval.Seconds(),
			Timeout: p.Timeout.Seconds(), Identifies: p.Identifies, Occasions: p.Occasions, StaleAfter: staleIntervals * p.Interval.Seconds(),
		})
	}
	return out
}

// pluginJSON is a plugin process.
type pluginJSON struct {
	Name       string            `json:"name"`
	Version    string            `json:"version"`
	Builtin    bool              `json:"builtin"`
	State      core.PluginState  `json:"state"`
	PID        int               `json:"pid,omitempty"`
	Problem    string            `json:"problem"`
	Probes     []string          `json:"probes"`
	Reporters  []string          `json:"reporters"`
	Started    *time.Time        `json:"started"`
	Restarts   int               `json:"restarts"`
	Jobs       map[string]uint64 `json:"jobs"`
	InFlight   int               `json:"in_flight"`
	Queued     int               `json:"queued"`
	Counters   map[string]uint64 `json:"counters,omitempty"`
	LogDropped uint64            `json:"log_dropped_bytes"`
}

func newPluginsJSON(all []core.PluginStatus) []pluginJSON {
	out := make([]pluginJSON, 0, len(all))
	for _, p := range all {
		out = append(out, newPluginJSON(p))
	}
	return out
}

func newPluginJSON(p core.PluginStatus) pluginJSON {
	return pluginJSON{
		Name: p.Name, Version: p.Version, Builtin: p.Builtin, State: p.State, PID: p.PID, Problem: p.Problem,
		Probes: some(p.Probes), Reporters: some(p.Reporters), Started: stamp(p.Started), Restarts: p.Restarts,
		Jobs: p.Jobs, InFlight: p.InFlight, Queued: p.Queued, Counters: p.Counters, LogDropped: p.DroppedLogBytes,
	}
}

// some is names, never null.
func some(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// reporterJSON is an instance of a reporter.
type reporterJSON struct {
	Name        string     `json:"name"`
	Plugin      string     `json:"plugin"`
	Kind        string     `json:"kind"`
	Backlog     int        `json:"backlog"`
	Delivered   uint64     `json:"delivered"`
	LastSuccess *time.Time `json:"last_success"`
	LastError   string     `json:"last_error"`
	NextTry     *time.Time `json:"next_try"`
}

func (s *Server) reporters() []reporterJSON {
	out := []reporterJSON{}
	if s.delivery == nil {
		return out
	}
	for _, r := range s.delivery.Status() {
		out = append(out, reporterJSON{
			Name: r.Name, Plugin: r.Plugin, Kind: r.Kind, Backlog: r.Backlog, Delivered: r.Delivered,
			LastSuccess: stamp(r.LastSuccess), LastError: r.LastError, NextTry: stamp(r.NextTry),
		})
	}
	return out
}
