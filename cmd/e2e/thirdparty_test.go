package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// examples builds the plugins of sdk/examples, as whoever wrote them would, and
// gives the directory.
var examples = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(filepath.Dir(binary), "examples")
	for _, name := range []string{"banner", "jsonlines"} {
		if err := build(filepath.Join(dir, name), "github.com/seahow-uk/nodeprobe/sdk/examples/"+name); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// example is the path of an example plugin's binary.
func example(t *testing.T, name string) string {
	t.Helper()
	dir, err := examples()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// install puts a plugin into the node's plugin directory and gives its sum.
func (n *proc) install(name string) (sum string) {
	n.t.Helper()
	return n.installBinary(name, example(n.t, name))
}

// installBinary puts a plugin that was built into the plugin directory.
func (n *proc) installBinary(name, path string) (sum string) {
	n.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.installFile(name, data)
}

func (n *proc) installFile(name string, data []byte) (sum string) {
	n.t.Helper()
	dir := filepath.Join(n.dir, "plugins")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
		n.t.Fatal(err)
	}
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

// greeter is a service that says what it is: the example probe's target.
func greeter(t *testing.T, banner string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, banner)
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr).Port
}

const banner = "SSH-2.0-example\r\n"

// bannerYAML lets the example probe look at a service of every peer's host.
func bannerYAML(sum string, port int) string {
	return fmt.Sprintf(`
plugins: {enabled: {acme: {command: banner, sha256: %s}}}
probes: {ssh: {plugin: acme, kind: banner, interval: 1s, config: {port: %d, prefix: SSH-}}}
`, sum, port)
}

// TestThirdPartyProbe: what a custom probe measures is a peer's path like any
// other, with its metrics, now and in the history.
func TestThirdPartyProbe(t *testing.T) {
	peer := newNode(t).start()
	n := newNode(t, peer)
	n.write("nodeprobe.yaml", "interval: 1s\n"+bannerYAML(n.install("banner"), greeter(t, banner)))
	n.start()
	id := ""
	n.eventually("the probe's result is a path of the peer", func() error {
		a, err := n.nodes()
		if err != nil || len(a.Nodes) != 1 {
			return fmt.Errorf("%+v %w", a, err)
		}
		for _, p := range a.Nodes[0].Paths {
			if p.Probe == "ssh" && p.Outcome == "success" && p.RTT > 0 && p.Metrics["banner_bytes"] == float64(len(banner)) {
				id = a.Nodes[0].ID
				return nil
			}
		}
		return fmt.Errorf("paths: %+v", a.Nodes[0].Paths)
	})
	n.eventually("its metric is in the history", func() error {
		runs, mean, err := n.history(id, "ssh", "banner_bytes", time.Now().Add(-time.Minute))
		if err == nil && (runs < 2 || mean != float64(len(banner))) {
			err = fmt.Errorf("%d runs with a mean of %v", runs, mean)
		}
		return err
	})
	if err := n.sees("alive", peer); err != nil {
		t.Error(err)
	}
}

// history sums up what the node measured at another since a time: the number of
// runs, and the last mean.
func (n *proc) history(id, probe, metric string, since time.Time) (runs int, mean float64, err error) {
	var h struct {
		Runs []int      `json:"runs"`
		Mean []*float64 `json:"mean"`
	}
	q := url.Values{"probe": {probe}, "from": {since.UTC().Format(time.RFC3339)}, "step": {"1s"}}
	if metric != "" {
		q.Set("metric", metric)
	}
	if err := n.get("/api/v1/nodes/"+id+"/history?"+q.Encode(), &h); err != nil {
		return 0, 0, err
	}
	for i, r := range h.Runs {
		runs += r
		if m := h.Mean[i]; m != nil {
			mean = *m
		}
	}
	return runs, mean, nil
}

// TestWrongSum: a plugin that is not the one that was listed is not started;
// that is told, and the node does its other work.
func TestWrongSum(t *testing.T) {
	peer := newNode(t).start()
	n := newNode(t, peer)
	sum, port := n.install("banner"), greeter(t, banner)
	wrong := strings.Repeat("0", 64)
	n.write("nodeprobe.yaml", bannerYAML(wrong, port))
	n.start()
	n.eventually("the problem is an event", func() error { return n.openEvent("plugin_problem", "sha256") })
	n.eventually("the peer is well", func() error { return n.sees("alive", peer) })
	p, err := n.plugin("acme")
	if err != nil || p.PID != 0 || p.State == "running" {
		t.Fatalf("the plugin is %+v: %v", p, err)
	}
	if !strings.Contains(p.Problem, sum) || !strings.Contains(p.Problem, wrong) || strings.ContainsAny(p.Problem, "\r\n") {
		t.Errorf("problem: got %q, want one sentence with both sums", p.Problem)
	}
	status, checks := n.health()
	if status != http.StatusOK || checks["plugins"] != "warning" || checks["database"] != "ok" {
		t.Errorf("health: got %d %v, want 200 and a warning", status, checks)
	}
	if code, out := n.run("health"); code != 0 || !strings.Contains(out, "warning") {
		t.Errorf("exit code %d:\n%s", code, out)
	}

	n.write("nodeprobe.yaml", bannerYAML(sum, port))
	n.eventually("the right sum is taken", func() error { return n.serving("acme", 0) })
	n.eventually("the event has ended", func() error {
		if n.openEvent("plugin_problem", "") == nil {
			return fmt.Errorf("still open")
		}
		return nil
	})
}

// TestUnlistedIsNotStarted: being in the directory is not enough.
func TestUnlistedIsNotStarted(t *testing.T) {
	n := newNode(t)
	n.write("nodeprobe.yaml", bannerYAML(n.install("banner"), 22))
	marker := filepath.Join(n.dir, "started")
	intruder := filepath.Join(n.dir, "plugins", "aaa")
	if err := os.WriteFile(intruder, []byte("#!/bin/sh\necho x > "+marker+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	n.install("jsonlines")
	n.start()
	n.eventually("the listed one serves", func() error { return n.serving("acme", 0) })
	var a pluginsAnswer
	if err := n.get("/api/v1/plugins", &a); err != nil || len(a.Plugins) != 2 {
		t.Errorf("got %+v %v, want https and acme", a.Plugins, err)
	}
	if children := childrenOf(t, n.cmd.Process.Pid); len(children) != 2 {
		t.Errorf("processes of the node: %v, want two", children)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("an unlisted executable was started")
	}
	if err := runFile(intruder); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(marker); err != nil {
		t.Fatalf("the test could not have found out: %v", err)
	}
}
