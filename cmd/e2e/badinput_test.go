package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core/identity"
)

// TestStartRefused: whatever keeps a node from starting is said in words that
// name the place and the remedy, with exit code 1.
func TestStartRefused(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, n *proc)
		want    []string
	}{
		"malformed seed.json": {
			func(_ *testing.T, n *proc) {
				n.write("seed.json", `{"nodes":[{"ip":"300.1.1.1"},{"fqdn":"a b"}],"x":1}`)
			},
			[]string{"seed.json:1", "300.1.1.1", "a b", "x"},
		},
		"malformed nodeprobe.yaml": {
			func(_ *testing.T, n *proc) {
				n.write("nodeprobe.yaml", "lisen: \":8443\"\nprobes:\n  https:\n    interval: 30\n")
			},
			[]string{"nodeprobe.yaml:1", "did you mean", "listen", "nodeprobe.yaml:4", "probes.https.interval"},
		},
		"malformed reportingserver.json": {
			func(_ *testing.T, n *proc) { n.write("reportingserver.json", `{"server_ip":"nowhere"}`) },
			[]string{"reportingserver.json", "server_ip"},
		},
		"errors of all files at once": {
			func(_ *testing.T, n *proc) {
				n.write("seed.json", "[]")
				n.write("nodeprobe.yaml", "trust: maybe\n")
			},
			[]string{"seed.json", "nodeprobe.yaml:1", "tofu"},
		},
		"a probe's bad setting": {
			func(_ *testing.T, n *proc) {
				n.write("nodeprobe.yaml", "probes: {https: {config: {keep_alive: -1}}}\n")
			},
			[]string{"nodeprobe.yaml:1: probes.https.config.keep_alive"},
		},
		"settings of plugins, with all else": {
			func(_ *testing.T, n *proc) {
				n.write("nodeprobe.yaml", "trust: maybe\nprobes:\n  https: {config: {foo: 1}}\n"+
					"reporters:\n  mine: {kind: snapshot, config: {server_port: 0}}\n")
			},
			[]string{
				"yaml:1: trust", "yaml:3: probes.https.config.foo",
				"yaml:5: reporters.mine.config.server_fqdn", "yaml:5: reporters.mine.config.server_port",
			},
		},
		"stanzas that no plugin serves": {
			func(_ *testing.T, n *proc) {
				n.write("nodeprobe.yaml", "trust: maybe\nprobes:\n  htps: {}\n  dns: {plugin: acme}\nreporters:\n  carrier-pigeon: {}\n")
			},
			[]string{"yaml:1: trust", "yaml:3: probes.htps: ", "https", "yaml:4: probes.dns.plugin", "yaml:6: reporters.carrier-pigeon: "},
		},
		"port in use": {
			func(t *testing.T, n *proc) {
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n.port))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
			},
			[]string{"another process listens there", "--listen"},
		},
		"data directory not writable": {
			func(t *testing.T, n *proc) { // a file in its place: root may write everywhere
				n.write("file", "")
				n.args = []string{"--data-dir", filepath.Join(n.dir, "file")}
			},
			[]string{"data directory", "--data-dir"},
		},
		"key readable by all": {
			func(t *testing.T, n *proc) {
				n.start()
				n.stop()
				if err := os.Chmod(filepath.Join(n.dir, "identity.key"), 0o644); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"identity.key", "chmod 600"},
		},
		"clock before the certificate": {
			func(t *testing.T, n *proc) {
				tomorrow := func() time.Time { return time.Now().Add(24 * time.Hour) }
				if _, err := identity.Open(n.dir, identity.Options{Now: tomorrow}); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"the clock", "is before the certificate", "certificate.pem"},
		},
		"not a database": {
			func(t *testing.T, n *proc) {
				if err := os.Mkdir(filepath.Join(n.dir, "nodeprobe.db"), 0o700); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"nodeprobe.db"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			c.prepare(t, n)
			n.launch()
			n.refused(c.want...)
		})
	}
}

// refused waits for the node to end by itself.
func (n *proc) refused(want ...string) {
	n.t.Helper()
	select {
	case err := <-n.done:
		n.done <- err
	case <-time.After(patience):
		n.t.Fatal("the node runs")
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 1 {
		n.t.Errorf("exit code: got %d, want 1", code)
	}
	for _, w := range want {
		if !strings.Contains(n.log.String(), w) {
			n.t.Errorf("%q is not in:\n%s", w, n.log)
		}
	}
	if strings.Contains(n.log.String(), "goroutine ") {
		n.t.Errorf("a stack trace:\n%s", n.log)
	}
}

func TestSecondProcessOnADirectory(t *testing.T) {
	first := newNode(t).start()
	second := newNode(t)
	second.dir, second.args = first.dir, []string{"--node-name", "second.example.com"}
	certificate := func() string {
		text, err := os.ReadFile(filepath.Join(first.dir, "certificate.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := certificate()
	second.launch()
	second.refused("another", first.dir)
	if certificate() != before {
		t.Error("the second process renewed the first one's certificate")
	}
	if err := first.get("/api/v1/summary", nil); err != nil {
		t.Fatalf("the first node was disturbed: %v", err)
	}
}

// TestFilesAreLeftForTheNodeItself: connections may not take all of them.
func TestFilesAreLeftForTheNodeItself(t *testing.T) {
	n := newNode(t)
	n.files = 128
	n.start()
	for range 200 {
		c, err := net.Dial("tcp", n.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if code, out := n.run("health"); code != 0 {
		t.Errorf("health: exit code %d:\n%s", code, out)
	}
	if strings.Contains(n.log.String(), "too many open files") {
		t.Error("the node ran out of files")
	}
}

func TestCorruptDatabaseIsTold(t *testing.T) {
	n := newNode(t)
	n.write("nodeprobe.db", strings.Repeat("no database ", 1000))
	n.start()
	n.eventually("an event tells of it", func() error {
		var a eventsAnswer
		if err := n.get("/api/v1/events?kind=storage_problem", &a); err != nil {
			return err
		}
		if len(a.Events) != 1 || !strings.Contains(a.Events[0].Message, "nodeprobe.db.corrupt-") {
			return fmt.Errorf("got %+v", a.Events)
		}
		return nil
	})
}

// TestPortInUseLeavesNothing: the node may be meant for another directory.
func TestPortInUseLeavesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := newNode(t)
	n.remove("seed.json")
	n.port = l.Addr().(*net.TCPAddr).Port
	n.launch()
	n.refused("another process listens there")
	found, err := filepath.Glob(filepath.Join(n.dir, "*"))
	if want := filepath.Join(n.dir, "nodeprobe.db.lock"); err != nil || len(found) != 1 || found[0] != want {
		t.Errorf("got %v, %v; want only %s", found, err, want)
	}
	if said := n.log.String(); strings.Count(said, n.addr()) != 1 {
		t.Errorf("the address is not told once:\n%s", said)
	}
}

// TestCheckLooksForPlugins: a node starts without the files of its plugins; config
// check tells of them, with all else.
func TestCheckLooksForPlugins(t *testing.T) {
	n := newNode(t)
	sum := n.install("banner")
	n.write("nodeprobe.yaml", "trust: maybe\nplugins:\n  enabled:\n    acme: {command: baner, sha256: "+sum+"}\n    good: {command: banner, sha256: "+sum+"}\n")
	n.expect(1, "yaml:1: trust", "config", "check")
	n.expect(1, "yaml:4: plugins.enabled.acme.command: there is no file "+filepath.Join(n.dir, "plugins", "baner"), "config", "check")
	if _, out := n.run("config", "check"); strings.Contains(out, "enabled.good") {
		t.Errorf("the one that is there is named:\n%s", out)
	}
	n.write("nodeprobe.yaml", "trust: maybe\nplugins: {directory: /nonexistent}\n")
	n.expect(1, "yaml:2: plugins.directory: /nonexistent is not a directory", "config", "check")
}

func TestUsageErrors(t *testing.T) {
	n := newNode(t)
	for _, args := range [][]string{
		{"rum"},
		{"run", "--nonsense"},
		{"probe", "https"},
		{"probe", "nothing", "127.0.0.1"},
		{"probe", "https", "a b"},
		{"peers", "extra"},
		{"peers", "forget", "zzz"},
		{"peers", "-o", "xml"},
		{"probe", "https", "127.0.0.1", "-o", "yaml"},
		{"plugin", "lst"},
		{"config", "chek"},
		{"plugin", "new", "thing", "x"},
	} {
		if code, out := n.run(args...); code != 2 {
			t.Errorf("%v: exit code %d, want 2:\n%s", args, code, out)
		}
	}
	if code, out := n.run("status"); code != 1 || !strings.Contains(out, "no node is running") {
		t.Errorf("status without a node: exit code %d:\n%s", code, out)
	}
}
