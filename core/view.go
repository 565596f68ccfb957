package core

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Peers that ask with the version that they have get "not modified", a tenth of
// what a whole view costs both. An outcome that changes and a figure that there was
// not before move the version at once, figures at most every viewPause if one of
// them has really changed, and every ViewHold otherwise.
const (
	viewPause = 30 * time.Second
	ViewHold  = 5 * time.Minute
)

type viewKey struct {
	node  NodeID
	probe string
}

// view keeps self's latest result per path.
type view struct {
	self NodeID

	mu      sync.Mutex // guards what follows
	paths   map[viewKey]*viewPath
	sorted  []PathStatus // nil when stale
	version uint64
	moves   uint64
	moved   time.Time
	shifted bool // a figure is not as it was told
}

// viewPath is a path as it is now, and as it was told at a move of the version.
type viewPath struct {
	now, told PathStatus
	move      uint64
}

// newView starts the version at the clock: one that an earlier process gave out
// must not come again with other content.
func newView(self NodeID, now time.Time) view {
	return view{self: self, paths: map[viewKey]*viewPath{}, version: uint64(now.UnixMicro())}
}

func (v *view) put(at time.Time, r Result) {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := viewKey{r.Job.Target.Node, r.Job.Probe}
	now := PathStatus{
		Source: v.self, Destination: key.node, Probe: key.probe,
		Outcome: r.Outcome, Reason: r.Reason, Message: r.Message,
		RTT: r.RTT, Metrics: r.Metrics, At: r.At(),
	}
	v.sorted = nil
	p := v.paths[key]
	if p == nil {
		v.paths[key] = &viewPath{now: now}
		v.moveLocked(at)
		return
	}
	if p.move != v.moves { // what it was then is what was put last
		p.told, p.move = p.now, v.moves
	}
	p.now = now
	same := p.told.Outcome == now.Outcome && p.told.Reason == now.Reason && tells(p.told.Metrics, now.Metrics)
	v.shifted = v.shifted || differs(p.told, now)
	age := at.Sub(v.moved)
	if !same || age >= ViewHold || v.shifted && age >= viewPause {
		v.moveLocked(at)
	}
}

// tells reports whether some metrics have all the names of others.
func tells(some, others []Metric) bool {
	return !slices.ContainsFunc(others, func(o Metric) bool {
		return !slices.ContainsFunc(some, func(m Metric) bool { return m.Name == o.Name })
	})
}

// differs tells that a figure is gone, or has changed by more than it does by
// itself: RTT by a quarter and half a millisecond, a size at all, a ratio by a
// hundredth. Others, as the end of a certificate, can wait.
func differs(told, now PathStatus) bool {
	if by := (now.RTT - told.RTT).Abs(); by >= told.RTT/4 && by >= 500*time.Microsecond {
		return true
	}
	return !tells(now.Metrics, told.Metrics) || slices.ContainsFunc(now.Metrics, func(m Metric) bool {
		least := math.Inf(1)
		switch {
		case strings.HasSuffix(m.Name, "_bytes"):
			least = 1
		case strings.HasSuffix(m.Name, "_ratio"):
			least = 0.01
		}
		i := slices.IndexFunc(told.Metrics, func(t Metric) bool { return t.Name == m.Name })
		return i >= 0 && math.Abs(m.Value-told.Metrics[i].Value) >= least
	})
}

func (v *view) moveLocked(at time.Time) {
	v.version++
	v.moves++
	v.moved, v.shifted = at, false
}

// trim drops the paths that keep does not want.
func (v *view) trim(keep func(node NodeID, probe string) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key := range v.paths {
		if !keep(key.node, key.probe) {
			delete(v.paths, key)
			v.sorted = nil
			v.version++ // the figures that are told stay
		}
	}
}

func (v *view) get() ([]PathStatus, uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sorted == nil {
		v.sorted = make([]PathStatus, 0, len(v.paths))
		for _, p := range v.paths {
			v.sorted = append(v.sorted, p.now)
		}
		slices.SortFunc(v.sorted, func(a, b PathStatus) int {
			if c := bytes.Compare(a.Destination[:], b.Destination[:]); c != 0 {
				return c
			}
			return strings.Compare(a.Probe, b.Probe)
		})
	}
	return v.sorted, v.version
}
