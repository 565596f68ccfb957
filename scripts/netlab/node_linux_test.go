package netlab

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// node is the whole product on a host of the lab, as nobody without capabilities.
type node struct {
	l      *lab
	host   string
	url    string
	client *http.Client
}

const nodeConfig = `listen: "%[1]s:8443"
advertise: "%[1]s:8443"
data_dir: %[2]s
probes:
  https: {interval: 5s, timeout: 4s, config: {post_quantum: true}}
  pmtu: {interval: 10s, timeout: 8s}
  stamp: {interval: 10s, timeout: 5s}
  trace: {}
`

// node starts one with the other as its seed.
func (l *lab) node(binary, host, at, seed string) *node {
	l.t.Helper()
	dir := filepath.Join(l.dir, "node-"+host)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	write("nodeprobe.yaml", fmt.Sprintf(nodeConfig, at, filepath.Join(dir, "data")))
	write("seed.json", fmt.Sprintf(`{"nodes":[{"ip":%q,"port":8443}]}`, seed))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err == nil {
		err = os.Chown(filepath.Join(dir, "data"), 65534, 65534)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	cmd := l.command("user", host, binary, "run", "--config-dir", dir)
	cmd.Env = nodeEnv()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil || l.t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			l.t.Logf("the node on %s ended: %v; its log:\n%s", host, err, text)
		}
	})
	n := &node{l: l, host: host, url: "https://" + at + ":8443"}
	n.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return l.dial(host, at+":8443") },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	return n
}

// dial makes a connection from within a host of the lab.
func (l *lab) dial(host, to string) (c net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		f, e := os.Open("/run/netns/" + l.prefix + "-" + host)
		if e != nil {
			err = e
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err == nil {
			c, err = net.DialTimeout("tcp", to, 5*time.Second)
		}
	}()
	<-done
	return c, err
}

// nodeEnv has nothing that nodes would take for a setting.
func nodeEnv() []string {
	return append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "NODEPROBE_") }), "HOME=/", "TMPDIR=/tmp")
}

// peer is what a node says of the other.
type peer struct {
	ID, State string
	Paths     []struct {
		Probe, Outcome string
		Metrics        map[string]float64
	}
	Findings []struct{ Probe, Kind string }
}

func (n *node) get(path string, to any) error {
	resp, err := n.client.Get(n.url + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d", path, resp.StatusCode)
	}
	return json.NewDecoder(resp.Body).Decode(to)
}

func (n *node) peer() (peer, error) {
	var a struct{ Nodes []peer }
	if err := n.get("/api/v1/nodes", &a); err != nil {
		return peer{}, err
	}
	if len(a.Nodes) != 1 {
		return peer{}, fmt.Errorf("%s knows %d nodes", n.host, len(a.Nodes))
	}
	return a.Nodes[0], nil
}

// sees tells what differs from a peer that is alive behind such a path.
func (n *node) sees(forward, backward int) error {
	p, err := n.peer()
	if err != nil {
		return err
	}
	if p.State != "alive" {
		return fmt.Errorf("%s: the peer is %s", n.host, p.State)
	}
	good := map[string]bool{}
	for _, path := range p.Paths {
		good[path.Probe] = path.Outcome == "success"
		if path.Probe != "pmtu" {
			continue
		}
		if f, b := int(path.Metrics["pmtu_forward_bytes"]), int(path.Metrics["pmtu_backward_bytes"]); f != forward || b != backward {
			return fmt.Errorf("%s: got an MTU of %d/%d, true is %d/%d", n.host, f, b, forward, backward)
		}
	}
	for _, probe := range []string{"https", "pmtu", "stamp", "trace"} {
		if !good[probe] {
			return fmt.Errorf("%s: %s has no success: %+v", n.host, probe, p.Paths)
		}
	}
	return nil
}

// finds tells whether an event of that kind is open.
func (n *node) finds(kind string) error {
	var a struct {
		Events []struct {
			Kind  string
			Ended *string
		}
	}
	if err := n.get("/api/v1/events", &a); err != nil {
		return err
	}
	for _, e := range a.Events {
		if e.Kind == kind && e.Ended == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: no event %s is open", n.host, kind)
}

// found tells what a probe finds now.
func (n *node) found(probe, kind string, want bool) error {
	p, err := n.peer()
	if err != nil {
		return err
	}
	got := false
	for _, f := range p.Findings {
		got = got || f.Probe == probe && f.Kind == kind
	}
	if got != want {
		return fmt.Errorf("%s: %s of %s: got %v, want %v", n.host, kind, probe, got, want)
	}
	return nil
}

func (n *node) hops() error {
	p, err := n.peer()
	if err != nil {
		return err
	}
	var a struct{ Documents []json.RawMessage }
	if err := n.get("/api/v1/nodes/"+p.ID+"/documents?name=trace", &a); err != nil {
		return err
	}
	if len(a.Documents) == 0 {
		return fmt.Errorf("%s has no hop path", n.host)
	}
	return nil
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	began, err := time.Now(), error(nil)
	for time.Since(began) < time.Minute {
		if err = check(); err == nil {
			fmt.Printf("nodes: %s after %s\n", what, time.Since(began).Round(100*time.Millisecond))
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("%s: %v", what, err)
}

// Two nodes, each nobody, find each other through a black hole, see it, and see
// what becomes of it.
func TestNodes(t *testing.T) {
	runs(t)
	l := newLab(t)
	binary := l.install("nodeprobe", filepath.Join("..", "..", "bin", "nodeprobe"))
	l.set(asymmetric + "icmp=ptb")
	h1 := l.node(binary, "h1", "10.77.1.1", "10.77.4.2")
	h2 := l.node(binary, "h2", "10.77.4.2", "10.77.1.1")
	forward, backward := l.number("true_forward"), l.number("true_reverse")
	eventually(t, "black hole: both ends right", func() error {
		if err := h1.sees(forward, backward); err != nil {
			return err
		}
		return h2.sees(backward, forward)
	})
	eventually(t, "black hole: an event at both ends", func() error {
		if err := h1.finds("mtu_black_hole"); err != nil {
			return err
		}
		return h2.finds("mtu_black_hole")
	})
	eventually(t, "a hop path at both ends", func() error {
		if err := h1.hops(); err != nil {
			return err
		}
		return h2.hops()
	})
	l.run("set", "mtu=1500/1280/1500/1500", "rmtu=", "icmp=ok")
	forward, backward = l.number("true_forward"), l.number("true_reverse")
	eventually(t, "lowered, ICMP: both ends right", func() error {
		if err := h1.sees(forward, backward); err != nil {
			return err
		}
		return h2.sees(backward, forward)
	})
	eventually(t, "lowered, ICMP: no black hole any more", func() error {
		if err := h1.found("pmtu", "mtu_black_hole", false); err != nil {
			return err
		}
		return h2.found("pmtu", "mtu_black_hole", false)
	})
}

// A black hole in which the handshake hangs: https says what it is.
func TestHandshakeInHole(t *testing.T) {
	runs(t)
	l := newLab(t)
	binary := l.install("nodeprobe", filepath.Join("..", "..", "bin", "nodeprobe"))
	l.node(binary, "h2", "10.77.4.2", "10.77.1.1")
	dir := filepath.Join(l.dir, "by-hand")
	config := "probes: {https: {interval: 10s, timeout: 4s, config: {post_quantum: true}}}\n"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nodeprobe.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, keys := range []string{asymmetric, "mtu=1500/1000/1000/1500 "} {
		l.set(keys + "icmp=ptb")
		eventually(t, keys+"black hole: https finds it", func() error {
			l.run("flush")
			cmd := l.command("user", "h1", binary, "probe", "https", "10.77.4.2:8443", "--config-dir", dir)
			cmd.Env = nodeEnv()
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "mtu_black_hole") {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
}
