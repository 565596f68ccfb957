package core

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// FindingJournal takes what probes find, as Journal does.
type FindingJournal interface {
	// Found opens an event of a probe, or gives the open one another message; End
	// closes it.
	Found(probe string, kind EventKind, subject, message string)
	End(kind EventKind, subject string)
	// Happened is an event without duration.
	Happened(probe string, kind EventKind, subject, message string)
}

// OpenFinding is a condition that holds on the path from self to a node.
type OpenFinding struct {
	Node    NodeID
	Probe   string
	Kind    EventKind
	Message string
	// Since is when it was first found.
	Since time.Time
}

// maxHappened bounds the events without duration of one path and minute: a probe
// that tells of every packet must not cost the history.
const maxHappened = 8

const (
	// settled is how many runs in a row end a condition. They also begin one that
	// ended within restless: what comes and goes is one event, not one a run. The
	// first time one run will do, as nobody wants to hear of a black hole later.
	settled  = 2
	restless = 10 * time.Minute
	// maxConditions bounds what is remembered of one probe at a node.
	maxConditions = 32
)

// findings keeps what holds on the paths. There is one event for a kind at a
// node, whichever and however many probes find it: that of the first by name
// counts as its source.
type findings struct {
	journal FindingJournal // may be nil

	mu       sync.Mutex // guards what follows
	nodes    map[NodeID]map[string]map[EventKind]*condition
	happened map[viewKey]happened
}

// condition is what a probe finds, or has found lately, at a node.
type condition struct {
	OpenFinding
	over    time.Time // when it ended; zero while it holds
	counter int       // runs in a row that say otherwise
}

func (c *condition) holds() bool { return c.over.IsZero() }

// happened counts the events without duration of a path.
type happened struct {
	since time.Time
	count int
}

// newFindings goes on with the findings that were open when the process ended:
// they last until their probe has run again.
func newFindings(journal FindingJournal, open []Event) *findings {
	f := &findings{journal: journal, nodes: map[NodeID]map[string]map[EventKind]*condition{}, happened: map[viewKey]happened{}}
	for _, e := range open {
		node, err := ParseNodeID(e.Subject)
		if err == nil && e.Source != "" {
			f.putLocked(&condition{OpenFinding: OpenFinding{node, e.Source, e.Kind, e.Message, e.Began}})
		}
	}
	return f
}

// take brings the events in line with a result that is the latest word on its
// path. One that says nothing about the target ends nothing. doubt tells that another
// run is to say whether something has begun, or is over.
func (f *findings) take(now time.Time, r Result) (doubt bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	node, probe := r.Job.Target.Node, r.Job.Probe
	if !r.AboutTarget() || len(f.nodes[node][probe])+len(r.Findings) == 0 {
		return false
	}
	found := map[EventKind]bool{}
	for _, x := range r.Findings {
		switch {
		case x.Instant:
			f.happenedLocked(now, r, x)
		case !found[x.Kind]:
			found[x.Kind] = true
			f.foundLocked(now, OpenFinding{node, probe, x.Kind, x.Message, now})
		}
	}
	for kind, c := range f.nodes[node][probe] {
		if !found[kind] {
			f.missedLocked(now, c)
		}
		doubt = doubt || c.counter > 0
	}
	return doubt
}

// foundLocked begins a condition, or goes on with it.
func (f *findings) foundLocked(now time.Time, x OpenFinding) {
	c := f.nodes[x.Node][x.Probe][x.Kind]
	switch {
	case c == nil || !c.holds() && now.Sub(c.over) >= restless:
		if c = (&condition{OpenFinding: x}); !f.putLocked(c) {
			return
		}
	case !c.holds():
		if c.counter++; c.counter < settled {
			return
		}
		c.OpenFinding, c.over = x, time.Time{}
	}
	c.Message, c.counter = x.Message, 0
	f.tellLocked(x.Node, x.Kind)
}

// missedLocked ends a condition, or forgets one that ended long ago.
func (f *findings) missedLocked(now time.Time, c *condition) {
	if !c.holds() {
		if c.counter = 0; now.Sub(c.over) >= restless {
			f.dropLocked(c)
		}
		return
	}
	if c.counter++; c.counter < settled {
		return
	}
	c.over, c.counter = now, 0
	f.tellLocked(c.Node, c.Kind)
}

func (f *findings) happenedLocked(now time.Time, r Result, x Finding) {
	key := viewKey{r.Job.Target.Node, r.Job.Probe}
	h := f.happened[key]
	if now.Sub(h.since) >= time.Minute {
		h = happened{since: now}
	}
	h.count++
	f.happened[key] = h
	if h.count <= maxHappened && f.journal != nil {
		f.journal.Happened(r.Job.Probe, x.Kind, key.node.String(), x.Message)
	}
}

// putLocked remembers c, unless there are too many of its probe already.
func (f *findings) putLocked(c *condition) bool {
	probes := f.nodes[c.Node]
	if probes == nil {
		probes = map[string]map[EventKind]*condition{}
		f.nodes[c.Node] = probes
	}
	if probes[c.Probe] == nil {
		probes[c.Probe] = map[EventKind]*condition{}
	}
	if old := probes[c.Probe]; old[c.Kind] == nil && len(old) >= maxConditions {
		return false
	}
	probes[c.Probe][c.Kind] = c
	return true
}

// dropLocked forgets c, which ends it if it holds.
func (f *findings) dropLocked(c *condition) {
	probes := f.nodes[c.Node]
	delete(probes[c.Probe], c.Kind)
	if len(probes[c.Probe]) == 0 {
		delete(probes, c.Probe)
	}
	if len(probes) == 0 {
		delete(f.nodes, c.Node)
	}
	if c.holds() {
		f.tellLocked(c.Node, c.Kind)
	}
}

// tellLocked tells the journal who finds a kind at a node now, if anybody does.
func (f *findings) tellLocked(node NodeID, kind EventKind) {
	if f.journal == nil {
		return
	}
	var first OpenFinding
	for probe, kinds := range f.nodes[node] {
		if c := kinds[kind]; c != nil && c.holds() && (first.Probe == "" || probe < first.Probe) {
			first = c.OpenFinding
		}
	}
	if first.Probe == "" {
		f.journal.End(kind, node.String())
		return
	}
	f.journal.Found(first.Probe, kind, node.String(), first.Message)
}

// trim drops the findings on paths that are not measured any more.
func (f *findings) trim(keep func(node NodeID, probe string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.allLocked() {
		if !keep(c.Node, c.Probe) {
			f.dropLocked(c)
		}
	}
	for key := range f.happened {
		if !keep(key.node, key.probe) {
			delete(f.happened, key)
		}
	}
}

func (f *findings) list() (out []OpenFinding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.allLocked() {
		if c.holds() {
			out = append(out, c.OpenFinding)
		}
	}
	return out
}

// allLocked are those that hold and those that held lately, in order.
func (f *findings) allLocked() (out []*condition) {
	for _, probes := range f.nodes {
		for _, kinds := range probes {
			out = slices.AppendSeq(out, maps.Values(kinds))
		}
	}
	slices.SortFunc(out, func(a, b *condition) int {
		return cmp.Or(bytes.Compare(a.Node[:], b.Node[:]), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Probe, b.Probe))
	})
	return out
}

// Findings are the conditions that hold on self's paths, by node, kind and probe.
func (e *Engine) Findings() []OpenFinding { return e.findings.list() }
