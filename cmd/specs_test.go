package cmd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/core/config"
	"github.com/seahow-uk/nodeprobe/plugins"
)

// Every probe that ships runs on every node, under the name of its kind, unless a
// stanza says otherwise.
func TestBuiltinProbesRunByDefault(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"", "https pmtu stamp trace"},
		{"probes: {pmtu: {}}", "https pmtu stamp trace"},
		{"probes: {mtu: {kind: pmtu}}", "https mtu stamp trace"},
		{"probes: {pmtu: {enabled: false}, https: {enabled: false}}", "stamp trace"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "nodeprobe.yaml"), []byte(c.yaml), 0o644); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Source{Flags: map[string]string{"config-dir": dir}, Getenv: func(string) string { return "" }})
		if err != nil {
			t.Fatal(err)
		}
		if got := probeNames(specs(cfg)); got != c.want {
			t.Errorf("%q: a node runs %q, want %q", c.yaml, got, c.want)
		}
	}
}

func probeNames(list []plugins.Spec) string {
	var names []string
	for _, s := range list {
		for _, p := range s.Probes {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
