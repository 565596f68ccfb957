package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/scripts/ports"
)

// patience is how long a test waits for what must happen; only a broken node
// needs so long.
const patience = 30 * time.Second

// proc is a node as a process.
type proc struct {
	t    *testing.T
	dir  string // data and configuration
	host string // address to listen on, of this machine's loopback
	port int
	args []string
	// files is how many the node may have open; 0: as many as the test.
	files int
	as    []string // a command that runs the node as somebody else, with the program that it runs

	cmd  *exec.Cmd
	log  *logBuffer
	done chan error
}

// newNode prepares a node that listens on a free loopback port and whose seeds
// are the given nodes.
func newNode(t *testing.T, seeds ...*proc) *proc {
	t.Helper()
	// Not t.TempDir: a unix socket's path must be short.
	dir, err := os.MkdirTemp("", "np")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := &proc{t: t, dir: dir, host: "127.0.0.1", port: ports.Must(1)}
	n.seed(seeds...)
	return n
}

func (n *proc) seed(seeds ...*proc) {
	type entry struct {
		IP   string `json:"ip"`
		Port int    `json:"port"`
	}
	list := []entry{}
	for _, s := range seeds {
		list = append(list, entry{s.host, s.port})
	}
	data, err := json.Marshal(map[string]any{"nodes": list})
	if err != nil {
		n.t.Fatal(err)
	}
	n.write("seed.json", string(data))
}

// write puts a file into the node's directory.
func (n *proc) write(name, content string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(content), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *proc) remove(name string) {
	n.t.Helper()
	if err := os.Remove(filepath.Join(n.dir, name)); err != nil {
		n.t.Fatal(err)
	}
}

// command is the binary with the node's directories.
func (n *proc) command(args ...string) *exec.Cmd {
	c := exec.Command(binary, args...)
	c.Env = []string{
		"HOME=" + n.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(),
		"DATA_DIR=" + n.dir, "CONFIG_DIR=" + n.dir, "CERT_DIR=" + n.dir,
	}
	return c
}

// addr is where the node serves HTTPS.
func (n *proc) addr() string { return net.JoinHostPort(n.host, strconv.Itoa(n.port)) }

// name is what the node calls itself: no resolver knows it.
func (n *proc) name() string {
	if n.port == originalPort {
		return "n" + strings.ReplaceAll(n.host, ".", "-") + ".test"
	}
	return fmt.Sprintf("n%d.test", n.port)
}

// start runs the node and waits until it serves.
func (n *proc) start() *proc {
	n.t.Helper()
	n.launch()
	n.eventually("the node serves", func() error {
		select {
		case err := <-n.done:
			n.done <- err
			n.t.Fatalf("the node ended: %v\n%s", err, n.log)
		default:
		}
		return n.get("/api/v1/summary", nil)
	})
	return n
}

func (n *proc) launch() {
	n.t.Helper()
	n.cmd = n.command(append([]string{"run", "--listen", n.addr(), "--node-name", n.name()}, n.args...)...)
	if n.files > 0 {
		n.cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, n.files), n.cmd.Path}, n.cmd.Args[1:]...)
		n.cmd.Path = "/bin/sh"
	}
	if len(n.as) > 0 {
		n.cmd.Args = append(slices.Clone(n.as), n.cmd.Args[1:]...)
		n.cmd.Path = n.as[0]
	}
	n.log = &logBuffer{}
	n.cmd.Stderr, n.cmd.Stdout = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.done = make(chan error, 1)
	cmd, done := n.cmd, n.done
	go func() { done <- cmd.Wait() }()
	n.t.Cleanup(func() {
		n.kill()
		if n.t.Failed() {
			n.t.Logf("log of the node on port %d:\n%s", n.port, n.log)
		}
	})
}

// stop asks the node to end and gives its exit code.
func (n *proc) stop() int {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Fatal(err)
	}
	select {
	case err := <-n.done:
		n.done <- err
	case <-time.After(patience):
		n.t.Fatalf("the node on port %d did not end\n%s", n.port, n.log)
	}
	return n.cmd.ProcessState.ExitCode()
}

// kill ends the node without asking.
func (n *proc) kill() {
	_ = n.cmd.Process.Kill()
	err := <-n.done
	n.done <- err
}

// get asks the admin socket.
func (n *proc) get(path string, out any) error {
	return n.call(http.MethodGet, path, "", out)
}

func (n *proc) call(method, path, body string, out any) error {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(n.dir, "admin.sock"))
		},
	}}
	req, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// eventually tries until ok returns nil.
func (n *proc) eventually(what string, ok func() error) {
	n.t.Helper()
	n.within(patience, what, ok)
}

// within is eventually with a limit that was promised.
func (n *proc) within(limit time.Duration, what string, ok func() error) {
	n.t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	n.t.Fatalf("not within %s: %s: %v", limit, what, err)
}

// logs waits until the log has said something, and gives how often it has.
func (n *proc) logs(want string) (times int) {
	n.t.Helper()
	n.eventually("the log says: "+want, func() error {
		if times = strings.Count(n.log.String(), want); times == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	return times
}

// run executes the binary to its end.
func (n *proc) run(args ...string) (code int, out string) {
	n.t.Helper()
	c := n.command(args...)
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	if err := c.Start(); err != nil {
		n.t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	_ = c.Wait()
	return c.ProcessState.ExitCode(), b.String()
}

// logBuffer is what a process wrote.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
