package membership

import (
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func (m *Mesh) addSeedLocked(s Seed, now time.Time) {
	c := &candidate{seed: true, of: s, foundBy: "seed", want: s.ID, next: now, heard: now}
	for _, host := range []string{s.FQDN, s.IP} {
		if e, err := core.NewEndpoint(host, s.Port); err == nil && !reserved(e.IP()) {
			c.at = append(c.at, e)
		}
	}
	if len(c.at) == 0 {
		m.log.Warn("seed cannot be dialled", "fqdn", s.FQDN, "ip", s.IP)
		return
	}
	m.seeds = append(m.seeds, c)
}

// Reconfigure puts another interval, other seeds and another policy into force.
// New seeds are dialled at once; nodes that a dropped seed led to stay, but may
// now expire. The policy counts for dials from now on.
func (m *Mesh) Reconfigure(interval time.Duration, seeds []Seed, policy Policy) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.o.Policy = policy
	if interval > 0 {
		m.o.Interval = interval
	}
	old := m.seeds
	m.seeds = nil
	for _, s := range seeds {
		if i := slices.IndexFunc(old, func(c *candidate) bool { return c.of == s }); i >= 0 {
			m.seeds = append(m.seeds, old[i])
			continue
		}
		m.addSeedLocked(s, now)
	}
	for _, c := range old {
		n := m.nodes[c.node]
		if n != nil && n.Seed && !m.seededLocked(n.ID) && c.settled {
			n.Seed = false
			m.touchedLocked(n)
		}
	}
	m.rouse()
}

// seedFailures is how often in a row a seed must fail before that is a problem:
// all of a mesh may just start.
const seedFailures = 2

// SeedProblems are sentences on the seeds that lead to no node. Those of a node
// that is known anyway are left out: its state tells.
func (m *Mesh) SeedProblems() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, s := range m.seeds {
		known := func(e core.Endpoint) bool { return m.byEndpoint[e] != nil }
		if !s.settled && s.failures >= seedFailures && !slices.ContainsFunc(s.at, known) {
			out = append(out, "seed "+s.at[0].String()+" "+s.why)
		}
	}
	return out
}

// seededLocked tells that a seed led to the node.
func (m *Mesh) seededLocked(id core.NodeID) bool {
	return slices.ContainsFunc(m.seeds, func(c *candidate) bool { return c.settled && c.node == id })
}
