package membership

import (
	"net/netip"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// nudgePause is between early polls of an inactive node that seems to be back.
const nudgePause = 30 * time.Second

// nudgeLocked polls an inactive node at once: there is a sign that it is back.
func (m *Mesh) nudgeLocked(now time.Time, n *member) {
	if now.Sub(n.nudged) < nudgePause {
		return
	}
	n.nudged = now
	m.out.dials = append(m.out.dials, dial{m.targetLocked(n, n.Endpoints[0]), core.TriggerDiscovery, true})
	m.rouse()
}

// Caller takes note that somebody called self: a candidate, dialled back where
// it says that it listens; the first of at is at the address that it called
// from. The key is what its certificate showed, zero for the anonymous.
func (m *Mesh) Caller(key core.KeyHash, at ...core.Endpoint) {
	if !key.IsZero() && key == m.o.Self.Key {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	n := m.byKey[key]
	if n != nil && n.State == core.StateAlive && len(at) > 0 && m.byEndpoint[at[0]] == n {
		return
	}
	if n != nil && !n.State.Active() {
		m.nudgeLocked(now, n)
	}
	c := &candidate{caller: true, foundBy: core.FoundByCaller}
	for _, e := range at {
		e, err := core.NewEndpoint(e.Host, e.Port)
		if err == nil && m.o.Policy.allows(e) && !slices.Contains(c.at, e) && !m.selfAt[e] && (n == nil || m.byEndpoint[e] != n) {
			c.at = append(c.at, e)
		}
	}
	if len(c.at) == 0 {
		return
	}
	c.source = "caller " + network(at[0].IP()).String()
	if owner := m.byEndpoint[c.at[0]]; owner != nil && owner != n && (!owner.State.Active() || !key.IsZero()) {
		m.nudgeLocked(now, owner)
	}
	m.considerLocked(now, c, key)
}

// network is whom the budget of callers is for: an address, or with IPv6 the
// network of 64 bits that one host may choose its addresses from.
func network(ip netip.Addr) netip.Addr {
	if !ip.Is6() {
		return ip
	}
	p, _ := ip.Prefix(64) // 64 is never out of range
	return p.Addr()
}

// Goodbye takes note that the node with that key is shutting down. It returns
// false when there is no such node.
func (m *Mesh) Goodbye(key core.KeyHash) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.byKey[key]
	if n == nil || key.IsZero() || n.State == core.StateQuarantined {
		return false
	}
	if n.State != core.StateLeft {
		n.pace = leftPace
		m.setStateLocked(time.Now(), n, core.StateLeft, "", "said goodbye")
	}
	return true
}
