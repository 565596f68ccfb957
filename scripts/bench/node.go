package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/seahow-uk/nodeprobe/scripts/ports"
)

const (
	nodePeers = 100
	// settle is how long a node runs before it is measured: the burst of its
	// start is over.
	settle = 10 * time.Second
	// allAlive is the most that it may take to find all peers.
	allAlive = 2 * time.Minute
)

var meshBinary = filepath.Join("bin", "mesh")

// nodeBinary is absolute: plugins are started from another directory.
func nodeBinary() string {
	path, err := filepath.Abs(filepath.Join("bin", "nodeprobe"))
	if err != nil {
		return filepath.Join("bin", "nodeprobe")
	}
	return path
}

// node is the node under test, with fake peers for seeds.
type node struct {
	peers *peers
	cmd   *exec.Cmd
	port  int
	dir   string
	clean func()
}

// startNode starts a node with these lines for its nodeprobe.yaml, and waits until
// it sees all its peers alive. Its reports go to one of them.
func startNode(ctx context.Context, interval time.Duration, settings string) (*node, error) {
	p, err := startPeers(nodePeers)
	if err != nil {
		return nil, err
	}
	n := &node{peers: p}
	if n.dir, n.clean, err = tempDir(); err != nil {
		p.stop()
		return nil, err
	}
	if err = n.start(interval, settings); err == nil {
		err = n.found(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, n.lastWords())
		n.stop()
		return nil, err
	}
	return n, nil
}

func (n *node) start(interval time.Duration, settings string) error {
	var seeds struct {
		Nodes []map[string]any `json:"nodes"`
	}
	for _, port := range n.peers.ports {
		seeds.Nodes = append(seeds.Nodes, map[string]any{"ip": "127.0.0.1", "port": port})
	}
	seedJSON, err := json.Marshal(seeds)
	if err != nil {
		return err
	}
	server := fmt.Sprintf(`{"server_ip": "127.0.0.1", "server_port": %d}`, n.peers.ports[0])
	for name, text := range map[string]string{
		"seed.json": string(seedJSON), "reportingserver.json": server, "nodeprobe.yaml": settings,
	} {
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if n.port, err = ports.Free(1); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(n.dir, "log.txt"))
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd = exec.Command(nodeBinary(), "run", "--config-dir", n.dir, "--data-dir", n.dir, "--cert-dir", n.dir,
		"--listen", fmt.Sprintf("127.0.0.1:%d", n.port), "--interval", interval.String())
	n.cmd.Stdout, n.cmd.Stderr = log, log
	return n.cmd.Start()
}

// found waits until all peers are alive.
func (n *node) found(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, allAlive, fmt.Errorf("not all of %d peers alive after %s", nodePeers, allAlive))
	defer cancel()
	for {
		if alive, err := n.alive(ctx); err == nil && alive == nodePeers {
			return nil
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func (n *node) alive(ctx context.Context) (int, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.dir, "admin.sock"))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/api/v1/nodes", nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Nodes []struct{ State string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	alive := 0
	for _, peer := range answer.Nodes {
		if peer.State == "alive" {
			alive++
		}
	}
	return alive, nil
}

func (n *node) stop() {
	n.peers.stop()
	if n.cmd != nil && n.cmd.Process != nil {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		_ = n.cmd.Wait()
	}
	n.clean()
}

// kill ends a process at once.
func kill(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}

func (n *node) lastWords() string {
	text, err := os.ReadFile(filepath.Join(n.dir, "log.txt"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// spent is the CPU time of the node's processes, and the polls they made, over d. It
// looks at the node every so often.
func (n *node) spent(ctx context.Context, d, every time.Duration, look func() error) (time.Duration, int, error) {
	pids, err := family(n.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	before, err := n.peers.polls()
	if err != nil {
		return 0, 0, err
	}
	used := cpuOf(pids...)
	for range d / every {
		if err := sleep(ctx, every); err != nil {
			return 0, 0, err
		}
		if err := look(); err != nil {
			return 0, 0, err
		}
	}
	after := cpuOf(pids...)
	polls, err := n.peers.polls()
	if err == nil {
		err = after.err
	}
	return after.took - used.took, polls - before, err
}

// busyNode is a node that polls 100 peers every second.
func busyNode(ctx context.Context) ([]figure, error) {
	n, err := startNode(ctx, time.Second, withoutPaths)
	if err != nil {
		return nil, err
	}
	defer n.stop()
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	used, polls, err := n.spent(ctx, 30*time.Second, 30*time.Second, func() error { return nil })
	if err != nil {
		return nil, err
	}
	if polls == 0 {
		return nil, fmt.Errorf("no poll in 30 s\n%s", n.lastWords())
	}
	mib, err := n.memory()
	if err != nil {
		return nil, err
	}
	again, err := n.killPlugin(ctx)
	return []figure{
		{"node, 100 peers, 1 s: a poll, committed", float64(used.Microseconds()) / float64(polls), "cpu-us", 600},
		{"node, 100 peers, 1 s: polls in half a minute", float64(polls), "polls", 0},
		{"node, 100 peers, 1 s: memory, all processes", mib[total], "MiB PSS", 0},
		{"node, plugin killed, polling again", again.Seconds(), "s", 1},
	}, err
}

// killPlugin is the time from the death of the plugin to the next poll.
func (n *node) killPlugin(ctx context.Context) (time.Duration, error) {
	pids, err := family(n.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(pids, func(pid int) bool {
		return role(pid) == "plugin builtin"
	})
	if i < 0 {
		return 0, errors.New("the node has no plugin")
	}
	began := time.Now()
	if err := kill(pids[i]); err != nil {
		return 0, err
	}
	// What it sent last has been counted by then; at 100 polls a second, the
	// next poll comes at once when there is somebody to make it.
	if err := sleep(ctx, 50*time.Millisecond); err != nil {
		return 0, err
	}
	before, err := n.peers.polls()
	if err != nil {
		return 0, err
	}
	for {
		now, err := n.peers.polls()
		switch {
		case err != nil:
			return 0, err
		case now > before:
			return time.Since(began), nil
		case time.Since(began) > allAlive:
			return 0, errors.New("not polling again")
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// tempDir makes a directory with a short path: sockets go into it.
func tempDir() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "npbench")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}
