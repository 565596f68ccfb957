package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signal sends a signal to a process that the test's own node has started.
func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("signal %v to %d: %v", s, pid, err)
	}
}

// blameless tells that no peer has changed its state, then or since.
func (n *proc) blameless(peers ...*proc) {
	n.t.Helper()
	var a eventsAnswer
	if err := n.get("/api/v1/events?kind=node_state&limit=1000", &a); err != nil {
		n.t.Fatal(err)
	}
	if len(a.Events) != 0 {
		n.t.Errorf("peers are blamed: %+v", a.Events)
	}
	nodes, err := n.nodes()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, p := range peers {
		if got := nodes.state(p); got != "alive" {
			n.t.Errorf("node %d is %q", p.port, got)
		}
	}
}

// pathOf is the latest result of a probe at an original.
func (n *proc) pathOf(o *original, probe string) (outcome, reason string, err error) {
	a, err := n.nodes()
	for _, node := range a.Nodes {
		for _, p := range node.Paths {
			if node.ID == o.id && p.Probe == probe {
				return p.Outcome, p.Reason, err
			}
		}
	}
	return "", "", err
}

// TestKilledPlugin: the runs that it had in hand are plugin errors, nobody is
// blamed, it serves again, and the probe of another plugin misses nothing.
func TestKilledPlugin(t *testing.T) {
	slow := newOriginalAt(t, "slow.test", "127.0.0.2:0")
	peer := newNode(t)
	peer.write("nodeprobe.yaml", "discovery: {deny_cidrs: [127.0.0.2/32]}\n") // only n asks the slow one
	peer.start()
	n := newNode(t)
	n.write("seed.json", fmt.Sprintf(`{"nodes":[{"ip":%q,"port":%d},{"ip":%q,"port":%d}]}`, slow.ip, slow.port, peer.host, peer.port))
	// A poll may take 8 s: the plugin is killed in time.
	n.write("nodeprobe.yaml", "interval: 10s\n"+bannerYAML(n.install("banner"), greeter(t, banner)))
	n.start()
	n.eventually("both joined", func() error {
		a, err := n.nodes()
		if err == nil && (len(a.Nodes) != 2 || a.state(peer) != "alive" || a.holds(slow) != nil) {
			err = fmt.Errorf("%+v", a.Nodes)
		}
		return err
	})
	n.pid("acme")
	n.eventually("the other probe runs", func() error { return n.succeeds("acme", 0) })
	pid := n.pid("builtin")
	slow.hold()
	n.eventually("a poll is under way", func() error {
		if _, waiting := slow.polled(); waiting == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	other, err := n.plugin("acme")
	if err != nil {
		t.Fatal(err)
	}
	signal(t, pid, syscall.SIGKILL)
	n.eventually("that poll is a plugin error", func() error {
		outcome, reason, err := n.pathOf(slow, "https")
		if err == nil && (outcome != "plugin_error" || reason != "plugin_crashed") {
			err = fmt.Errorf("it is %q, %q", outcome, reason)
		}
		return err
	})
	slow.release()
	n.eventually("it serves again", func() error { return n.serving("builtin", pid) })
	n.eventually("the next poll is good", func() error {
		outcome, _, err := n.pathOf(slow, "https")
		if err == nil && outcome != "success" {
			err = fmt.Errorf("it is %q", outcome)
		}
		return err
	})
	n.eventually("the other probe goes on", func() error { return n.succeeds("acme", other.Jobs["success"]+2) })
	n.blameless(peer)
	if p, err := n.plugin("builtin"); err != nil || p.Restarts != 1 || p.Jobs["plugin_error"] == 0 {
		t.Errorf("plugin: %+v %v", p, err)
	}
	if p, err := n.plugin("acme"); err != nil || p.PID != other.PID || p.Restarts != 0 || p.Jobs["plugin_error"] != 0 {
		t.Errorf("the other plugin: %+v %v", p, err)
	}
	n.told("builtin", "ended with signal: killed")
}

// succeeds tells that a plugin had more good runs than that.
func (n *proc) succeeds(name string, than uint64) error {
	p, err := n.plugin(name)
	if err == nil && p.Jobs["success"] <= than {
		err = fmt.Errorf("good runs: got %d, want more than %d", p.Jobs["success"], than)
	}
	return err
}

// told tells that log and events have said, in one sentence, why a plugin that
// serves again did not.
func (n *proc) told(name, why string) {
	n.t.Helper()
	if times := n.logs(fmt.Sprintf("plugin does not serve: plugin=%s problem=%q", name, why)); times != 1 {
		n.t.Errorf("the log says %d times why, want once", times)
	}
	n.eventually("the event is stored", func() error {
		var a eventsAnswer
		err := n.get("/api/v1/events?kind=plugin_problem", &a)
		if err == nil && (len(a.Events) != 1 || a.Events[0].Subject != name || a.Events[0].Message != why || a.Events[0].Ended == nil) {
			err = fmt.Errorf("got %+v, want %q, of %s, ended", a.Events, why, name)
		}
		return err
	})
}

// TestStoppedPlugin: a process that hangs is replaced.
func TestStoppedPlugin(t *testing.T) {
	t.Parallel()
	peer := newNode(t).start()
	n := newNode(t, peer)
	n.args = []string{"--interval", "2s"}
	n.start()
	n.eventually("the peer joined", func() error { return n.sees("alive", peer) })
	pid := n.pid("builtin")
	signal(t, pid, syscall.SIGSTOP)
	n.eventually("it is replaced", func() error { return n.serving("builtin", pid) })
	n.eventually("the hung one is gone", func() error { return gone(pid) })
	n.eventually("the peer is polled again", func() error { return n.sees("alive", peer) })
	n.blameless(peer)
}

// gone tells that a process has ended; whether it was reaped is up to init.
func gone(pids ...int) error {
	for _, pid := range pids {
		if state, _ := procStat(pid); state != "" && state != "Z" {
			return fmt.Errorf("process %d is there, in state %s", pid, state)
		}
	}
	return nil
}

// orphanLimit is how long a plugin may outlive its host.
const orphanLimit = 2 * time.Second

// TestKilledHost: its plugins end with it, also one that hangs, and the peers
// keep their good name over the restart.
func TestKilledHost(t *testing.T) {
	peer := newNode(t).start()
	n := newNode(t, peer)
	n.write("nodeprobe.yaml", fmt.Sprintf(`
plugins: {enabled: {acme: {command: banner, sha256: %s}, lines: {command: jsonlines, sha256: %s}}}
probes: {ssh: {plugin: acme, kind: banner, config: {port: %d}}}
reporters: {archive: {plugin: lines, kind: jsonlines, config: {path: %q}}}
`, n.install("banner"), n.install("jsonlines"), greeter(t, banner), n.dir+"/archive"))
	n.start()
	n.eventually("the peer joined", func() error { return n.sees("alive", peer) })
	pids := []int{n.pid("builtin"), n.pid("acme"), n.pid("lines")}
	if children := childrenOf(t, n.cmd.Process.Pid); len(children) != len(pids) {
		t.Errorf("processes %v, plugins %v", children, pids)
	}
	signal(t, pids[0], syscall.SIGSTOP)
	signal(t, pids[2], syscall.SIGSTOP)
	n.kill()
	n.within(orphanLimit, "no plugin is left", func() error { return gone(pids...) })
	n.start()
	n.eventually("the peer is there", func() error { return n.sees("alive", peer) })
	n.blameless(peer)
	peer.eventually("the killed node is back", func() error { return peer.sees("alive", n) })
}

// TestStoppedNodeLeavesNothing: after SIGTERM no process is left.
func TestStoppedNodeLeavesNothing(t *testing.T) {
	n := newNode(t).start()
	pid := n.pid("builtin")
	if code := n.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := gone(pid); err != nil {
		t.Error(err)
	}
}

// TestBuiltinThatCrashesAllTheTime: it waits a minute before each start, unless an
// operator wants it now. Without it the node is not healthy, and says so.
func TestBuiltinThatCrashesAllTheTime(t *testing.T) {
	peer := newNode(t).start()
	n := newNode(t, peer).start()
	n.eventually("the peer joined", func() error { return n.sees("alive", peer) })
	pid, kills := 0, 0
	n.eventually("it waits", func() error {
		p, err := n.plugin("builtin")
		if err != nil || p.State == "backoff" && kills >= 5 {
			return err
		}
		if p.State == "running" && p.PID != pid {
			pid = p.PID
			signal(t, pid, syscall.SIGKILL)
			kills++
		}
		return fmt.Errorf("%+v", p)
	})
	n.unhealthy("killed")
	n.blameless(peer)
	n.expect(0, "plugin builtin runs, process ", "plugin", "enable", "builtin")
	if err := n.serving("builtin", 0); err != nil {
		t.Error(err)
	}
	n.eventually("the node is healthy", func() error {
		if status, checks := n.health(); status != http.StatusOK {
			return fmt.Errorf("%d %v", status, checks)
		}
		return nil
	})
	n.expect(0, "healthy", "health")
	n.expect(1, `no plugin "nothing" is configured; there is builtin`, "plugin", "enable", "nothing")
	n.eventually("the peer is polled again", func() error { return n.sees("alive", peer) })
	n.blameless(peer)
}

// TestDisabledThirdParty: a plugin that cannot live is left alone after five
// crashes; the node does its work, says why it does without, and takes the plugin
// back when the cause is mended and an operator says so.
func TestDisabledThirdParty(t *testing.T) {
	t.Parallel()
	peer := newNode(t).start()
	n := newNode(t, peer)
	n.install("banner")
	n.write("no-licence", "")
	sum := n.installFile("wrapper", fmt.Appendf(nil, `#!/bin/sh
if [ -e %s/no-licence ]; then echo "no licence for this host" >&2; exit 3; fi
exec %s/plugins/banner
`, n.dir, n.dir))
	n.write("nodeprobe.yaml", fmt.Sprintf(`
plugins: {enabled: {acme: {command: wrapper, sha256: %s}}}
probes: {ssh: {plugin: acme, kind: banner, interval: 1s, config: {port: %d}}}
`, sum, greeter(t, banner)))
	n.start()
	const why = "disabled after 5 crashes within 5m0s: ended at start with exit status 3: no licence for this host"
	n.eventually("it is disabled", func() error {
		p, err := n.plugin("acme")
		if err == nil && (p.State != "disabled" || p.Problem != why || p.PID != 0 || p.Restarts != 0) {
			err = fmt.Errorf("%+v", p)
		}
		return err
	})
	n.eventually("the peer is well", func() error { return n.sees("alive", peer) })
	n.eventually("its runs are plugin errors", func() error {
		p, err := n.plugin("acme")
		if err == nil && (p.Jobs["plugin_error"] == 0 || len(p.Jobs) != 1) {
			err = fmt.Errorf("%+v", p)
		}
		return err
	})
	n.eventually("that is an event", func() error { return n.openEvent("plugin_problem", why) })
	if status, checks := n.health(); status != http.StatusOK || checks["plugins"] != "warning" {
		t.Errorf("health: got %d %v, want 200 and a warning", status, checks)
	}
	n.expect(0, why, "health")
	n.expect(0, "plugin acme is "+why, "status")
	n.expect(0, why, "plugin", "list")
	if times := n.logs(fmt.Sprintf("plugin disabled: plugin=acme problem=%q", why)); times != 1 {
		t.Errorf("the log says %d times why, want once", times)
	}

	n.stop()
	n.start() // that it is disabled outlives the node
	if p, err := n.plugin("acme"); err != nil || p.State != "disabled" || p.Problem != why {
		t.Errorf("after a restart: %+v %v", p, err)
	}
	n.expect(1, "plugin acme ended at start with exit status 3: no licence", "plugin", "enable", "acme")
	n.remove("no-licence")
	n.expect(0, "plugin acme runs, process ", "plugin", "enable", "acme")
	n.eventually("it serves", func() error { return n.serving("acme", 0) })
	n.eventually("its runs are good", func() error { return n.succeeds("acme", 0) })
	n.eventually("the event has ended", func() error {
		if n.openEvent("plugin_problem", "") == nil {
			return fmt.Errorf("still open")
		}
		return nil
	})
	n.blameless(peer)
}

// unhealthy checks every place where that is told.
func (n *proc) unhealthy(problem string) {
	n.t.Helper()
	n.eventually("the node is not healthy", func() error {
		if status, checks := n.health(); status != http.StatusServiceUnavailable || checks["plugins"] != "failed" || checks[""] != "unhealthy" {
			return fmt.Errorf("%d %v", status, checks)
		}
		return nil
	})
	n.expect(1, "unhealthy", "health")
	n.expect(0, "backoff", "plugin", "list")
	n.eventually("that is an event", func() error { return n.openEvent("plugin_problem", problem) })
	if p, err := n.plugin("builtin"); err != nil || !strings.Contains(p.Problem, problem) || strings.ContainsAny(p.Problem, "\r\n") {
		n.t.Errorf("problem: got %q %v, want a sentence with %q", p.Problem, err, problem)
	}
}
