package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/scripts/ports"
)

// expect runs the binary and looks at exit code and words.
func (n *proc) expect(code int, words string, args ...string) {
	n.t.Helper()
	got, out := n.run(args...)
	if got != code || !strings.Contains(out, words) {
		n.t.Errorf("%v: exit code %d, want %d with %q:\n%s", args, got, code, words, out)
	}
	if strings.Contains(out, "goroutine ") {
		n.t.Errorf("%v: a stack trace:\n%s", args, out)
	}
}

func TestPluginCheck(t *testing.T) {
	n := newNode(t)
	n.expect(0, "banner", "plugin", "check", example(t, "banner"))
	lines, good := example(t, "jsonlines"), fmt.Sprintf("jsonlines={\"path\":%q}", filepath.Join(n.dir, "lines"))
	n.expect(0, `"config_schema"`, "plugin", "check", lines, "--plugin-config", good, "-o", "json")
	n.expect(1, "needs a configuration: jsonlines refuses {}: path: is required; give a good one with --plugin-config KIND={JSON}", "plugin", "check", lines)
	if _, out := n.run("plugin", "check", lines); strings.Contains(out, "failed") {
		t.Errorf("a plugin that only needs a configuration has failed:\n%s", out)
	}
	n.expect(1, "not a NodeProbe plugin", "plugin", "check", binary)
	n.expect(1, "there is no file "+filepath.Join(n.dir, "nothing")+": want the path of a plugin", "plugin", "check", filepath.Join(n.dir, "nothing"))
	n.expect(1, "is not a file", "plugin", "check", n.dir)
	n.write("notes.txt", "not a program")
	n.expect(1, "cannot be started", "plugin", "check", filepath.Join(n.dir, "notes.txt"))
	n.expect(2, "arg", "plugin", "check")
	n.expect(2, "--plugin-config", "plugin", "check", lines, "--plugin-config", "jsonlines={")
	n.expect(2, "want KIND={JSON}", "plugin", "check", lines, "--plugin-config", "jsonlines=5")
}

func TestPluginRun(t *testing.T) {
	n := newNode(t)
	probe := example(t, "banner")
	at := fmt.Sprintf("127.0.0.1:%d", greeter(t, banner))
	n.expect(0, "success", "plugin", "run", probe, "--target", at)
	n.expect(0, "banner_bytes", "plugin", "run", probe, "--target", at)
	n.expect(0, `"banner_bytes": 17`, "plugin", "run", probe, "--target", at, "-o", "json")
	n.expect(1, "HELO", "plugin", "run", probe, "--target", at, "--plugin-config", `{"prefix":"HELO"}`)
	n.expect(1, "refused", "plugin", "run", probe, "--target", fmt.Sprintf("127.0.0.1:%d", ports.Must(1)))
	n.expect(1, "prefix", "plugin", "run", probe, "--target", at, "--plugin-config", `{"prefiks":"SSH-"}`)
	n.expect(1, "sandwich", "plugin", "run", probe, "--target", at, "--kind", "sandwich")
	n.expect(1, "no probe", "plugin", "run", example(t, "jsonlines"), "--target", at)
	n.expect(2, "--plugin-config", "plugin", "run", probe, "--target", at, "--plugin-config", `{`)
	n.expect(2, `--plugin-config "5": want a JSON object`, "plugin", "run", probe, "--target", at, "--plugin-config", "5")
	n.expect(1, "there is no file", "plugin", "run", "nosuch", "--target", at)
	n.expect(2, "--target", "plugin", "run", probe, "--target", "a b")
	n.expect(2, "--target", "plugin", "run", probe)
}

// TestPluginRunByConfig: the port of the settings counts when the target names
// none.
func TestPluginRunByConfig(t *testing.T) {
	n := newNode(t)
	conf := fmt.Sprintf(`{"port":%d}`, greeter(t, banner))
	n.expect(0, "success", "plugin", "run", example(t, "banner"), "--target", "127.0.0.1", "--plugin-config", conf)
}

// TestProbeOfAStanza: a target without a port means the port of the probe, not
// that of nodes; also when the running node is asked.
func TestProbeOfAStanza(t *testing.T) {
	n := newNode(t)
	n.write("nodeprobe.yaml", bannerYAML(n.install("banner"), greeter(t, banner)))
	n.expect(0, "banner_bytes", "probe", "ssh", "127.0.0.1")
	n.expect(1, "refused", "probe", "ssh", fmt.Sprintf("127.0.0.1:%d", ports.Must(1)))
	n.start()
	n.eventually("the plugin serves", func() error { return n.serving("acme", 0) })
	var got struct {
		Outcome string `json:"outcome"`
		Message string `json:"message"`
	}
	if err := n.call("POST", "/api/v1/probe", `{"probe":"ssh","host":"127.0.0.1"}`, &got); err != nil || got.Outcome != "success" {
		t.Errorf("got %+v, %v; want success", got, err)
	}
}

// TestPluginNew: what is generated builds and passes its test as it is, and the
// binary is a plugin.
func TestPluginNew(t *testing.T) {
	for _, kind := range []string{"probe", "reporter"} {
		t.Run(kind, func(t *testing.T) {
			n := newNode(t)
			name := "my-" + kind
			code, out := n.runIn(n.dir, "plugin", "new", kind, name, "--sdk", moduleRoot(t))
			if code != 0 || !strings.Contains(out, name) {
				t.Fatalf("exit code %d:\n%s", code, out)
			}
			module := filepath.Join(n.dir, name)
			if out := goTool(t, module, "test", "./..."); !strings.HasPrefix(out, "ok") {
				t.Errorf("it has no test that passes:\n%s", out)
			}
			goTool(t, module, "vet", "./...")
			goTool(t, module, "build", "-o", name+".bin", ".")
			good := fmt.Sprintf(`%s={"file":%q}`, name, filepath.Join(n.dir, "records"))
			if kind == "probe" {
				good = name + "={}"
			}
			n.expect(0, name, "plugin", "check", filepath.Join(module, name+".bin"), "--plugin-config", good)

			if code, out := n.runIn(n.dir, "plugin", "new", kind, name); code != 1 || !strings.Contains(out, "there already") {
				t.Errorf("a second time: exit code %d:\n%s", code, out)
			}
		})
	}
	n := newNode(t)
	if code, out := n.runIn(n.dir, "plugin", "new", "probe", "plain"); code != 0 {
		t.Errorf("without --sdk: exit code %d:\n%s", code, out)
	}
	if mod, err := os.ReadFile(filepath.Join(n.dir, "plain", "go.mod")); err != nil || strings.Contains(string(mod), "v0.0.0") {
		t.Errorf("go.mod requires a version that was never published: %s %v", mod, err)
	}
	n.expect(2, "probe or reporter", "plugin", "new", "sandwich", "x")
	n.expect(2, "lower case", "plugin", "new", "probe", "../x")
}

// runIn executes the binary in a directory.
func (n *proc) runIn(dir string, args ...string) (code int, out string) {
	c := n.command(args...)
	c.Dir = dir
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	_ = c.Run()
	return c.ProcessState.ExitCode(), b.String()
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// goTool runs the go command in another module, with the modules that this one
// was built from and without the network.
func goTool(t *testing.T, dir string, args ...string) (out string) {
	t.Helper()
	c := exec.Command("go", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOSUMDB=off", "GOWORK=off", "CGO_ENABLED=0", "PWD="+dir)
	text, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, text)
	}
	return string(text)
}
