package cmd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/config"
	"github.com/seahow-uk/nodeprobe/core/membership"
	"github.com/seahow-uk/nodeprobe/core/wire"
	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/web"
)

// The functions below are what the parts of a node call one another by.

// What the events of the node itself are about.
const (
	configuration = "configuration"
	history       = "history"
)

// grant is the value of a capability that a plugin may be granted. That of
// services is the permission itself.
func (n *node) grant(capability string) (value []byte, ok bool) {
	if name, ok := strings.CutPrefix(capability, sdk.CapabilityService("")); ok && core.ValidServiceName(name) {
		return n.identity.ServiceSecret(name), true
	}
	if name, ok := strings.CutPrefix(capability, sdk.CapabilityState("")); ok && core.ValidServiceName(name) {
		return n.stateDir(name)
	}
	switch capability {
	case sdk.CapabilityIdentity:
		return n.identity.PEM(), true
	case sdk.CapabilityServices:
		return nil, true
	default:
		return nil, false
	}
}

// stateDir is where a plugin may keep files. What they keep is pinned keys: where
// none is pinned, there is no such place.
func (n *node) stateDir(name string) (path []byte, ok bool) {
	cfg := n.config()
	if cfg.Trust == config.TrustOpen {
		return nil, false
	}
	dir, err := filepath.Abs(filepath.Join(cfg.DataDir, "state", name))
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		n.log.Warn("plugin state is not kept", "name", name, "error", err)
		return nil, false
	}
	return []byte(dir), true
}

// observe sees a result before it is stored: discovery does not wait for disks.
func (n *node) observe(r core.Result) { n.mesh.Observe(r) }

// committed sees results that are stored.
func (n *node) committed(rs []core.Result) {
	n.hub.Publish(core.Change{Kind: web.ChangeResults, Payload: rs})
	n.delivery.Wake()
}

// storeFailed is told when history stops being written, and nil when it goes on.
func (n *node) storeFailed(err error) {
	if err == nil {
		n.journal.End(core.EventStorageProblem, history)
		return
	}
	n.journal.Begin(core.EventStorageProblem, history, "results are not being stored: "+err.Error())
}

// pluginsChanged brings the plugins' state to everybody who acts on it.
func (n *node) pluginsChanged() {
	n.plugins.Lock() // or an older state could come last
	defer n.plugins.Unlock()
	n.engine.SetProbes(n.host.Probes())
	n.delivery.SetReporters(n.host.Reporters())
	configured := map[string]bool{}
	for _, p := range n.host.Status() {
		configured[p.Name] = true
		if p.Problem != "" {
			n.journal.Begin(core.EventPluginProblem, p.Name, p.Problem)
		} else if p.State == core.PluginRunning {
			n.journal.End(core.EventPluginProblem, p.Name)
		}
		n.hub.Publish(core.Change{Kind: web.ChangePlugin, Payload: p})
	}
	for _, e := range n.journal.Open() {
		if e.Kind == core.EventPluginProblem && !configured[e.Subject] {
			n.journal.End(e.Kind, e.Subject)
		}
	}
}

// snapshot is what a reporter of snapshots gets: the nodes and self's row of
// the matrix.
func (n *node) snapshot(context.Context) (core.Record, error) {
	now := time.Now()
	paths, _ := n.engine.View()
	return core.Record{Kind: core.RecordSnapshot, At: now, Payload: wire.EncodeSnapshot(n.self, now, n.mesh.Nodes(), paths)}, nil
}

// pollInterval is that of the probe that decides whether a peer is alive.
func (n *node) pollInterval() time.Duration {
	for _, p := range n.host.Probes() {
		if p.Identifies {
			return p.Interval
		}
	}
	return n.config().Interval
}

func seeds(cfg *config.Config) []membership.Seed {
	list := make([]membership.Seed, len(cfg.Seeds))
	for i, s := range cfg.Seeds {
		list[i] = membership.Seed(s)
	}
	return list
}

// policy is what may be dialled by a node that listens on addr.
func policy(cfg *config.Config, addr net.Addr) membership.Policy {
	return membership.Policy{
		Allow: cfg.Discovery.AllowCIDRs, Deny: cfg.Discovery.DenyCIDRs,
		Loopback: listensOnLoopback(addr),
	}
}
