package examples_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest/conformance"
)

// build makes the binary as a third party would.
func build(t *testing.T, name string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "build", "-o", bin, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return bin
}

func TestBanner(t *testing.T) {
	plugintest.Conformance(t, conformance.Subject{
		Path: build(t, "banner"), Target: plugintest.Banner(t, "SSH-2.0-example\r\n"),
	})
}

func TestJSONLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	config, _ := json.Marshal(map[string]string{"path": path})
	t.Run("conformance", func(t *testing.T) { // its checks run side by side: they end with it
		plugintest.Conformance(t, conformance.Subject{
			Path: build(t, "jsonlines"), Config: map[string]json.RawMessage{"jsonlines": config},
		})
	})
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(written) {
		var l struct {
			Seq     uint64          `json:"seq"`
			Kind    string          `json:"kind"`
			Payload json.RawMessage `json:"payload"`
		}
		if err := json.Unmarshal(line, &l); err != nil || l.Seq == 0 || l.Kind == "" || len(l.Payload) == 0 {
			t.Errorf("line %.200s: %v", line, err)
		}
	}
	if len(written) == 0 {
		t.Error("nothing was written")
	}
}

// TestShort: the examples show how little a plugin takes.
func TestShort(t *testing.T) {
	files, err := filepath.Glob("*/main.go")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples: %v %v", files, err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(code, []byte("\n")); n >= 60 {
			t.Errorf("%s has %d lines, want fewer than 60", file, n)
		}
	}
}
