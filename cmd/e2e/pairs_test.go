package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// pairs builds the plugin of the host's tests, whose probe "peer" uses all that
// the host has for probes that work in pairs, and gives its path.
var pairs = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "pairs")
	return path, build(path, "github.com/seahow-uk/nodeprobe/plugins/internal/testplugin")
})

// paired is a node with that plugin, and the plugin's sum.
func paired(t *testing.T, grants, config string, seeds ...*proc) (n *proc, sum string) {
	t.Helper()
	path, err := pairs()
	if err != nil {
		t.Fatal(err)
	}
	n = newNode(t, seeds...)
	sum = n.installBinary("pairs", path)
	n.write("nodeprobe.yaml", pairYAML(sum, grants, config))
	return n.start(), sum
}

// pairYAML has the probe run by itself once an hour, and no other that serves: when
// its peer's reflector is told would be one more occasion to run.
func pairYAML(sum, grants, config string) string {
	return fmt.Sprintf(`
interval: 1s
plugins: {enabled: {acme: {command: pairs, sha256: %s, env: {TESTPLUGIN: sdk}, grants: %s}}}
probes:
  pair: {plugin: acme, kind: peer, interval: 1h, config: %s}
  pmtu: {enabled: false}
  stamp: {enabled: false}
  trace: {enabled: false}
`, sum, grants, config)
}

// acts tells what the probe did at the node's only peer, as events without length,
// the oldest first.
func (n *proc) acts() (string, error) {
	var a struct {
		Events []struct {
			Kind, Source string
			Ended        *string
		} `json:"events"`
	}
	err := n.get("/api/v1/events?subject="+n.peer(), &a)
	var out []string
	for _, e := range a.Events {
		if e.Source == "pair" {
			kind := strings.TrimPrefix(e.Kind, "ran_on_")
			if e.Ended == nil {
				kind += " (open)"
			}
			out = append([]string{kind}, out...)
		}
	}
	return strings.Join(out, ", "), err
}

// peer is the id of the node's only peer.
func (n *proc) peer() string {
	a, err := n.nodes()
	if err != nil || len(a.Nodes) != 1 {
		return ""
	}
	return a.Nodes[0].ID
}

func (n *proc) acted(want string) func() error {
	return func() error {
		got, err := n.acts()
		if err == nil && got != want {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	}
}

// TestProbesInPairs: a probe that serves, finds things, keeps documents and runs on
// occasions needs nothing of the host that it does not ask for.
func TestProbesInPairs(t *testing.T) {
	server, sum := paired(t, "[service.echo]", `{port: 7, finds: hole, version: v1}`)
	n, _ := paired(t, "[services]", `{}`, server)
	n.eventually("it ran at first contact, and when the service was known", n.acted("first_contact, services"))
	server.eventually("the server's own run", server.acted("first_contact, hole (open)"))

	t.Run("a finding is a problem and a document is served", func(t *testing.T) {
		var s struct{ Problems []string }
		if err := server.get("/api/v1/summary", &s); err != nil || !strings.Contains(strings.Join(s.Problems, " "), "the test says so") {
			t.Errorf("problems: got %q, %v", s.Problems, err)
		}
		if code, out := server.run("status"); code != 0 || !strings.Contains(out, "the test says so") {
			t.Errorf("status: got %d %s", code, out)
		}
		server.eventually("the document", server.documents("v1"))
	})
	t.Run("a run by hand has the node's keys", func(t *testing.T) {
		at := fmt.Sprintf("127.0.0.1:%d", server.port)
		for _, target := range []string{at, "127.0.0.1", n.peer()} {
			n.expect(0, "the node that runs here", "probe", "pair", target)
		}
		if code, out := n.run("probe", "pair", at); code != 0 || !strings.Contains(out, "service ") || !strings.Contains(out, "told.version") {
			t.Errorf("got %d %s, want the service and the document", code, out)
		}
		if code, out := n.run("probe", "pair", at, "--alone"); code != 0 || !strings.Contains(out, "known to no node") || strings.Contains(out, "service ") {
			t.Errorf("alone: got %d %s, want no service", code, out)
		}
	})
	t.Run("no key is shown", func(t *testing.T) {
		for _, at := range []string{"/api/v1/nodes", "/api/v1/plugins", "/nodeinfo"} {
			var text any
			if err := n.get(at, &text); err != nil || strings.Contains(fmt.Sprint(text), "echo") {
				t.Errorf("%s: got %v, %v, want no word of the service", at, text, err)
			}
		}
	})
	t.Run("the finding ends and another document comes", func(t *testing.T) {
		server.write("nodeprobe.yaml", pairYAML(sum, "[service.echo]", `{port: 7, version: v2}`))
		if err := server.call(http.MethodPost, "/api/v1/reload", "", nil); err != nil {
			t.Fatal(err)
		}
		n.kill()
		server.eventually("it ran on failure", server.acted("first_contact, hole, failure"))
		server.eventually("two documents", server.documents("v2", "v1"))
	})
}

// documents waits for the versions of the probe's document, newest first.
func (n *proc) documents(want ...string) func() error {
	return func() error {
		var a struct {
			Documents []struct {
				Until *string
				Body  struct{ Version string }
			}
		}
		err := n.get("/api/v1/nodes/"+n.peer()+"/documents?name=told", &a)
		var got []string
		for i, d := range a.Documents {
			got = append(got, d.Body.Version)
			if (d.Until == nil) != (i == 0) {
				err = fmt.Errorf("version %s: until %v", d.Body.Version, d.Until)
			}
		}
		if err == nil && strings.Join(got, " ") != strings.Join(want, " ") {
			err = fmt.Errorf("got %q, want %q", got, want)
		}
		return err
	}
}
