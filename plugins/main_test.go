package plugins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// testPlugin is the path of the built test plugin; set once by TestMain.
var testPlugin string

// envHelper makes the test binary a host that waits to be killed.
const envHelper = "NODEPROBE_TEST_HOST"

// envSelf makes the test binary a plugin.
const envSelf = "NODEPROBE_TEST_SELF"

func newSelf(struct{}, sdk.Env) (sdk.Prober, error) {
	return sdk.ProberFunc(func(context.Context, sdk.Target) (sdk.Result, error) {
		exe, err := os.Executable()
		return sdk.Result{Attributes: map[string]string{"exe": exe}}, err
	}), nil
}

func TestMain(m *testing.M) {
	if specs := os.Getenv(envHelper); specs != "" {
		helperHost(specs)
		return
	}
	if os.Getenv(envSelf) != "" {
		sdk.Serve(sdk.NewProbe("self", "1.0.0", newSelf))
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "nodeprobe-plugins-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	testPlugin = filepath.Join(dir, "testplugin")
	build := exec.Command("go", "build", "-o", testPlugin, "./internal/testplugin")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build test plugin:", err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// spec is the test plugin, started in mode, with one probe per name of do.
func spec(name, mode string, do map[string]string) Spec {
	s := Spec{Name: name, Builtin: true, Path: testPlugin, Env: map[string]string{"TESTPLUGIN": mode}}
	for _, probe := range sortedKeys(do) {
		s.Probes = append(s.Probes, ProbeSpec{Name: probe, Kind: "echo", Config: config(map[string]any{"do": do[probe]})})
	}
	return s
}

// thirdParty makes s a plugin that must match its hash.
func thirdParty(t testing.TB, s Spec) Spec {
	t.Helper()
	s.Builtin = false
	s.SHA256 = sum(t, s.Path)
	return s
}

func sum(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

func config(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
