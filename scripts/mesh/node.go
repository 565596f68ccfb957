package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a node may take to stop before it is killed; nodes
// promise ten seconds.
const stopTimeout = 12 * time.Second

// node is one process of the mesh.
type node struct {
	name string
	dir  string
	port int
	cmd  *exec.Cmd
	log  *os.File
	// ended is closed when the process is gone; err is set then.
	ended chan struct{}
	err   error
	admin http.Client
}

func newNode(dir string, number, port int) *node {
	n := &node{name: fmt.Sprintf("node%d", number), port: port, ended: make(chan struct{})}
	n.dir = filepath.Join(dir, n.name)
	n.admin.Timeout = 2 * time.Second
	n.admin.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.dir, "data", "admin.sock"))
	}}
	return n
}

func (n *node) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

// prepare writes the configuration; seed is the node to start from, nil for none.
func (n *node) prepare(seed *node, keep bool) error {
	if !keep {
		if err := os.RemoveAll(n.dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(n.dir, "configs"), 0o700); err != nil {
		return err
	}
	if seed == nil {
		return nil
	}
	type peer struct {
		IP   string `json:"ip"`
		Port int    `json:"port"`
	}
	seeds := map[string][]peer{"nodes": {{IP: "127.0.0.1", Port: seed.port}}}
	server := map[string]any{"server_ip": "127.0.0.1", "server_port": seed.port}
	if err := n.write("seed.json", seeds); err != nil {
		return err
	}
	return n.write("reportingserver.json", server)
}

func (n *node) write(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.dir, "configs", name), append(text, '\n'), 0o600)
}

// start runs the node; its log goes to a file beside its data.
func (n *node) start(o options) error {
	var err error
	if n.log, err = os.Create(filepath.Join(n.dir, "log.txt")); err != nil {
		return err
	}
	n.cmd = exec.Command(o.binary, "run",
		"--config-dir", filepath.Join(n.dir, "configs"),
		"--data-dir", filepath.Join(n.dir, "data"),
		"--cert-dir", filepath.Join(n.dir, "data"),
		"--listen", n.address(), "--node-name", n.name, "--log-level", o.logLevel)
	if o.interval > 0 {
		n.cmd.Args = append(n.cmd.Args, "--interval", o.interval.String())
	}
	n.cmd.Env = environment()
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	n.cmd.SysProcAttr = detached()
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	go func() {
		n.err = n.cmd.Wait()
		close(n.ended)
	}()
	return nil
}

// environment is ours without the settings of a node that may be in it.
func environment() []string {
	var keep []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		switch {
		case strings.HasPrefix(name, "NODEPROBE_"), name == "DATA_DIR", name == "CERT_DIR", name == "CONFIG_DIR":
		default:
			keep = append(keep, pair)
		}
	}
	return keep
}

// ask asks the node to stop, and wait for it makes sure that it does.
func (n *node) ask() {
	if n.cmd == nil || n.cmd.Process == nil {
		return
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		_ = n.cmd.Process.Kill() // where there are no signals; or it has ended
	}
}

func (n *node) wait() error {
	if n.cmd == nil || n.cmd.Process == nil {
		return nil
	}
	defer n.log.Close()
	select {
	case <-n.ended:
		return nil
	case <-time.After(stopTimeout):
		_ = n.cmd.Process.Kill()
		<-n.ended
		return fmt.Errorf("%s did not stop within %s and was killed", n.name, stopTimeout)
	}
}

// look asks the node for its id and those of the peers that it sees alive.
func (n *node) look(ctx context.Context) (self string, alive []string, err error) {
	var summary struct{ Self struct{ ID string } }
	if err := n.get(ctx, "/api/v1/summary", &summary); err != nil {
		return "", nil, err
	}
	var answer struct {
		Nodes []struct{ ID, State string }
	}
	if err := n.get(ctx, "/api/v1/nodes", &answer); err != nil {
		return "", nil, err
	}
	for _, peer := range answer.Nodes {
		if peer.State == "alive" {
			alive = append(alive, peer.ID)
		}
	}
	return summary.Self.ID, alive, nil
}

func (n *node) get(ctx context.Context, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return err
	}
	resp, err := n.admin.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(out)
}

// lastWords is the end of the node's log.
func (n *node) lastWords() string {
	text, err := os.ReadFile(n.log.Name())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
