package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/scripts/require"
)

const pathYAML = "interval: 1s\nprobes: {pmtu: {interval: 2s}, stamp: {interval: 2s}, trace: {interval: 2s}}\n"

// cells waits until every pair of the mesh has a value of a metric, told by this
// node, and gives the least and the most.
func (n *proc) cells(probe, metric string, nodes int) (least, most float64) {
	n.t.Helper()
	n.eventually(probe+" "+metric, func() error {
		var m struct {
			Rows [][]*struct{ Value *float64 }
		}
		if err := n.get("/api/v1/matrix?probe="+probe+"&metric="+metric, &m); err != nil {
			return err
		}
		var values []float64
		for _, row := range m.Rows {
			for _, c := range row {
				if c != nil && c.Value != nil {
					values = append(values, *c.Value)
				}
			}
		}
		if want := nodes * (nodes - 1); len(values) != want {
			return fmt.Errorf("%d of %d pairs", len(values), want)
		}
		least, most = slices.Min(values), slices.Max(values)
		return nil
	})
	return least, most
}

// TestPathProbesInAMesh: every node has the path metrics of every pair, its peers'
// too.
func TestPathProbesInAMesh(t *testing.T) {
	t.Parallel()
	var mesh []*proc
	for range 3 {
		n := newNode(t, mesh...)
		n.write("nodeprobe.yaml", pathYAML)
		mesh = append(mesh, n.start())
	}
	last := mesh[2]
	for _, metric := range []string{"pmtu_forward_bytes", "pmtu_backward_bytes"} {
		if least, _ := last.cells("pmtu", metric, 3); least < 1280 {
			t.Errorf("%s: got %v, want what loopback takes", metric, least)
		}
	}
	for _, metric := range []string{"loss_forward_ratio", "loss_backward_ratio"} {
		if _, most := last.cells("stamp", metric, 3); most > 0.5 {
			t.Errorf("%s: got %v on loopback", metric, most)
		}
	}
	last.cells("trace", "hops_count", 3)
	last.expect(0, "65535", "matrix", "--probe", "pmtu", "--metric", "pmtu_forward_bytes")
	last.expect(1, "metric", "matrix", "--metric", "A B")
	last.tellsPaths(mesh[0])
	last.countsStrangers()
}

// countsStrangers: what a reflector ignores is counted for operators to see.
func (n *proc) countsStrangers() {
	n.t.Helper()
	c, err := net.Dial("udp", n.addr())
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	n.eventually("a packet of a stranger is counted", func() error {
		if _, err := c.Write(make([]byte, 100)); err != nil {
			return err
		}
		var a struct {
			Plugins []struct{ Counters map[string]int }
		}
		if err := n.get("/api/v1/plugins", &a); err != nil {
			return err
		}
		for _, p := range a.Plugins {
			if p.Counters["reflector_malformed_packets"] > 0 && p.Counters["reflector_answered_packets"] > 0 {
				return nil
			}
		}
		return fmt.Errorf("got %+v", a)
	})
}

// tellsPaths: of one peer there are the facts beside the figures, and the hops.
func (n *proc) tellsPaths(peer *proc) {
	n.t.Helper()
	n.eventually("facts and documents", func() error {
		var node struct {
			Paths []struct {
				Probe, Outcome string
				Attributes     map[string]string
			}
		}
		var a struct{ Documents []struct{ Name string } }
		if err := n.get("/api/v1/nodes/"+peer.id(), &node); err != nil {
			return err
		}
		if err := n.get("/api/v1/nodes/"+peer.id()+"/documents", &a); err != nil {
			return err
		}
		told := map[string]string{}
		for _, p := range node.Paths {
			told[p.Probe] = p.Outcome
			for name, value := range p.Attributes {
				told[name] = value
			}
		}
		if told["pmtu_forward_how"] != "echo" || told["pmtu_forward_kind"] != "at_local_max" || told["stamp"] != "success" || told["trace"] != "success" {
			return fmt.Errorf("got %v", told)
		}
		if len(a.Documents) != 1 {
			return fmt.Errorf("got documents %v, want the hops", a.Documents)
		}
		return nil
	})
	n.expect(0, "the node that runs here", "probe", "stamp", peer.addr())
	n.expect(0, "trace.hops", "probe", "trace", peer.addr())
	n.expect(1, "told of no reflector", "probe", "stamp", peer.addr(), "--alone")
}

// TestPathProbesTowardsAnOriginal: without a reflector there is what TCP tells, said
// to be no more than that.
func TestPathProbesTowardsAnOriginal(t *testing.T) {
	t.Parallel()
	o := newOriginal(t, "original.test")
	n := newNode(t)
	n.seedOriginals(o)
	n.write("nodeprobe.yaml", pathYAML)
	n.start()
	for probe, want := range map[string]string{"pmtu": "success", "stamp": "unsupported", "trace": "success"} {
		n.eventually(probe, func() error {
			got, reason, err := n.pathOf(o, probe)
			if err == nil && got != want {
				err = fmt.Errorf("got %q (%s), want %s", got, reason, want)
			}
			return err
		})
	}
	code, out := n.run("probe", "pmtu", fmt.Sprintf("%s:%d", o.ip, o.port))
	if got := strings.Join(strings.Fields(out), " "); code != 0 || !strings.Contains(got, "pmtu_forward_kind at_least") {
		t.Errorf("exit code %d, want 0 and a lower bound:\n%s", code, out)
	}
	n.expect(1, "told of no reflector", "probe", "stamp", fmt.Sprintf("%s:%d", o.ip, o.port))
}

// TestPathProbesAsNobody: all of it without a user, a group, a capability, or the way
// to get any.
func TestPathProbesAsNobody(t *testing.T) {
	t.Parallel()
	setpriv, err := exec.LookPath("setpriv")
	if err != nil || os.Getuid() != 0 {
		require.Missing(t, "root", "needs root and setpriv, to give up more than its user has: %v", err)
	}
	// The test's own folder is closed to others.
	program := filepath.Join(os.TempDir(), fmt.Sprintf("nodeprobe-%d", os.Getpid()))
	if err := exec.Command("install", "-m", "0755", binary, program).Run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(program) })
	nobody := func(seeds ...*proc) *proc {
		n := newNode(t, seeds...)
		n.write("nodeprobe.yaml", pathYAML)
		for _, name := range []string{"", "seed.json", "nodeprobe.yaml"} {
			if err := os.Chown(filepath.Join(n.dir, name), 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		n.as = []string{
			setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", program,
		}
		return n.start()
	}
	a := nobody()
	b := nobody(a)
	b.tellsPaths(a)
	for _, n := range []*proc{a, b} {
		n.hasNoPrivileges()
	}
}

// hasNoPrivileges reads what the kernel says of the node and its plugins.
func (n *proc) hasNoPrivileges() {
	n.t.Helper()
	pid := fmt.Sprint(n.cmd.Process.Pid)
	threads, err := filepath.Glob("/proc/" + pid + "/task/*/children")
	if err != nil {
		n.t.Fatal(err)
	}
	all := []string{pid}
	for _, name := range threads {
		children, err := os.ReadFile(name)
		if err == nil { // else the thread has ended
			all = append(all, strings.Fields(string(children))...)
		}
	}
	if len(all) < 2 {
		n.t.Errorf("got processes %v, want the node and its plugin", all)
	}
	for _, pid := range all {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			n.t.Fatal(err)
		}
		for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "Groups:\t \n", "CapPrm:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
			if !strings.Contains(string(status), want) {
				n.t.Errorf("process %s: want %q in\n%s", pid, want, status)
			}
		}
	}
}
