package config

import (
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestNothingAtAll(t *testing.T) {
	home := t.TempDir()
	c, err := Load(source(home, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir == "" || c.CertDir != filepath.Join(c.DataDir, "certs") || c.Plugins.Directory != filepath.Join(c.DataDir, "plugins") {
		t.Errorf("got data %q, certs %q, plugins %q", c.DataDir, c.CertDir, c.Plugins.Directory)
	}
	want := Default()
	want.DataDir, want.CertDir, want.ConfigDir, want.Plugins.Directory = c.DataDir, c.CertDir, c.ConfigDir, c.Plugins.Directory
	want.watched, want.origins = c.watched, c.origins
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want the defaults", c)
	}
	if entries, err := os.ReadDir(home); err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v: Load must not make anything", entries, err)
	}
}

func TestEveryExampleLoads(t *testing.T) {
	root := "../../configs"
	loaded := 0
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		c, err := loadDir(t, path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		loaded += len(c.sources)
		return nil
	})
	if err != nil || loaded < 3 {
		t.Errorf("got %d files loaded, %v; want at least three", loaded, err)
	}
	c, err := loadDir(t, root)
	if err != nil {
		t.Fatal(err)
	}
	id, err := core.ParseNodeID("0b8f5a0e-3c1d-8f2a-9e47-5d6c7b8a9f01")
	if err != nil {
		t.Fatal(err)
	}
	if want := []Seed{{"node1.example.com", "192.168.1.100", 443, core.NodeID{}}, {"node2.example.com", "192.168.1.101", 8443, core.NodeID{}}, {"", "192.168.1.102", 443, id}}; !slices.Equal(c.Seeds, want) {
		t.Errorf("got seeds %v, want %v", c.Seeds, want)
	}
	if want := (ReportingServer{"reporting.example.com", "192.168.1.10", 443, 5 * time.Minute}); c.Report == nil || *c.Report != want {
		t.Errorf("got reporting server %v, want %v", c.Report, want)
	}
}

// annotated is the lines of configs/nodeprobe.yaml that begin with prefix
// and a key, a nested one or an element, without the prefix.
func annotated(t *testing.T, prefix string) string {
	t.Helper()
	text, err := os.ReadFile("../../configs/nodeprobe.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, prefix)
		// Prose has one space behind the "#", settings none or at least two.
		if ok && rest != "\n" && rest[0] != '#' && (rest[0] != ' ' || strings.HasPrefix(rest, "  ")) {
			out.WriteString(rest)
		}
	}
	return out.String()
}

func TestAnnotatedFileHasEveryKeyWithItsDefault(t *testing.T) {
	defaults := annotated(t, "#")
	n, err := parseYAML([]byte(defaults))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, defaults)
	}
	d := newDecoder("nodeprobe.yaml")
	got := &Config{Probes: map[string]Probe{}, Reporters: map[string]Reporter{}, Plugins: Plugins{Enabled: map[string]Plugin{}}}
	d.config(got)(n, "")
	if len(d.errs) > 0 || !reflect.DeepEqual(got, Default()) {
		t.Errorf("got %+v, %v; want Default() %+v", got, d.errs, Default())
	}
	// What is 0 by default would be missed by the comparison.
	for key := range d.offered {
		if _, ok := d.origins[key]; !ok {
			t.Errorf("the key %s is not in the file", key)
		}
	}

	examples := annotated(t, "##")
	if n, err = parseYAML([]byte(examples)); err != nil {
		t.Fatalf("%v in:\n%s", err, examples)
	}
	d = newDecoder("nodeprobe.yaml")
	c := Default()
	d.config(c)(n, "")
	if errs := append(d.errs, c.validate()...); len(errs) > 0 {
		t.Errorf("the examples: %v", errs)
	}
	for key := range d.offered {
		if stanza := strings.HasPrefix(key, "probes.dns.") || strings.HasPrefix(key, "reporters.chat.") || strings.HasPrefix(key, "plugins.enabled."); !stanza {
			continue
		}
		if _, ok := d.origins[key]; !ok && key != "reporters.chat.kind" {
			t.Errorf("the key %s is not in the examples", key)
		}
	}
}

func TestWholeFile(t *testing.T) {
	dir := dirWith(t, settingsFile, `
listen: "[fd00::1]:8443"
advertise: Node1.Example.com
node_name: Node1.Example.com.
data_dir: state
cert_dir: /srv/certs
discovery: {allow_cidrs: [10.0.0.0/8], deny_cidrs: ["fd00::/8"]}
probes:
  https: {interval: 1m30s, timeout: 72s}
  dns: {plugin: acme, enabled: false, config: {b: 1, a: [1.5, null, true, "1", x, 0x10, 2026-01-01]}}
  empty: {config: {}}
  bare:
reporters:
  hook: {kind: webhook, config: {url: "https://h/"}}
plugins:
  directory: plugins
  enabled:
    acme:
      command: bin/acme
      args: [--port, 8080]
      sha256: "0123456789abcdef0123456789abcdef0123456789ABCDEF0123456789abcdef"
      env: {TOKEN: s3cret, DEBUG: 1}
      grants: [identity]
      memory_limit: 64MiB
storage: {dsn: "postgres://u:p@db/x", max_size: 1.5GB, raw: 2d, rollup: 1w2d}
report: {every: 10s}
web: {allowed_hosts: [a.example.com, 10.0.0.1]}
`)
	c, err := loadDir(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	off := false
	want := &Config{
		Listen: "[fd00::1]:8443", Advertise: "Node1.Example.com", NodeName: "node1.example.com",
		DataDir: filepath.Join(dir, "state"), CertDir: "/srv/certs", ConfigDir: dir,
		Interval: 30 * time.Second, LogLevel: "info", LogFormat: "text", Trust: TrustTOFU,
		Discovery: Discovery{[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, []netip.Prefix{netip.MustParsePrefix("fd00::/8")}},
		Probes: map[string]Probe{
			"https": {Kind: "https", Interval: 90 * time.Second, Timeout: 72 * time.Second},
			"dns":   {Kind: "dns", Plugin: "acme", Enabled: &off, Config: json.RawMessage(`{"b":1,"a":[1.5,null,true,"1","x",16,"2026-01-01"]}`)},
			"empty": {Kind: "empty", Config: json.RawMessage(`{}`)},
			"bare":  {Kind: "bare"},
		},
		Reporters: map[string]Reporter{"hook": {Kind: "webhook", Config: json.RawMessage(`{"url":"https://h/"}`)}},
		Plugins: Plugins{filepath.Join(dir, "plugins"), map[string]Plugin{"acme": {
			Command: "bin/acme", Args: []string{"--port", "8080"}, SHA256: "0123456789abcdef0123456789abcdef0123456789ABCDEF0123456789abcdef",
			Env: map[string]Secret{"TOKEN": "s3cret", "DEBUG": "1"}, Grants: []string{"identity"}, MemoryLimit: 64 << 20,
		}}},
		Storage:     Storage{"postgres://u:p@db/x", 1_500_000_000, 48 * time.Hour, 9 * 24 * time.Hour},
		ReportEvery: 10 * time.Second,
		Web:         Web{[]string{"a.example.com", "10.0.0.1"}},
		watched:     c.watched, origins: c.origins, sources: []string{filepath.Join(dir, settingsFile)},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %#v\nwant %#v", c, want)
	}
	if c.Probes["dns"].IsEnabled() || !c.Probes["https"].IsEnabled() || !c.Reporters["hook"].IsEnabled() {
		t.Error("enabled is wrong")
	}
	if got := c.Plugins.Path("acme"); got != filepath.Join(dir, "plugins/bin/acme") {
		t.Errorf("got path %s", got)
	}
	if got := c.Plugins.Enabled["acme"].Environ(); !maps.Equal(got, map[string]string{"TOKEN": "s3cret", "DEBUG": "1"}) {
		t.Errorf("got environment %v", got)
	}
	if e, ok := c.AdvertiseAt(8443); !ok || e != (core.Endpoint{Host: "node1.example.com", Port: 8443}) {
		t.Errorf("got %v, %t", e, ok)
	}
}

func TestEmptyFilesAreDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "probes:\nlog:\ndiscovery:\n  allow_cidrs:\n", "\ufeffinterval: 30s\r\n"} {
		c, err := loadText(t, text)
		if err != nil || c.Interval != 30*time.Second || len(c.Probes) != 0 {
			t.Errorf("%q: got %+v, %v", text, c, err)
		}
	}
}

func TestSeedsInEitherDirectory(t *testing.T) {
	config, data := t.TempDir(), t.TempDir()
	load := func() *Config {
		t.Helper()
		c, err := Load(source(t.TempDir(), nil, map[string]string{"CONFIG_DIR": config, "DATA_DIR": data}))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := load()
	if len(c.Seeds) != 0 || c.Report != nil {
		t.Errorf("got %v, %v without files", c.Seeds, c.Report)
	}
	want := []string{
		filepath.Join(config, settingsFile), filepath.Join(config, seedFile), filepath.Join(data, seedFile),
		filepath.Join(config, reportingFile), filepath.Join(data, reportingFile),
	}
	if !slices.Equal(c.Files(), want) {
		t.Errorf("got files %q, want %q", c.Files(), want)
	}
	write(t, filepath.Join(data, seedFile), "\ufeff"+`{"nodes":[{"fqdn":"FROM-DATA.","ip":"::ffff:10.0.0.1"}]}`)
	write(t, filepath.Join(data, reportingFile), `{"server_fqdn":"","server_ip":"10.0.0.9","server_port":8443}`)
	c = load()
	if want := []Seed{{FQDN: "from-data", IP: "10.0.0.1", Port: 443}}; !slices.Equal(c.Seeds, want) {
		t.Errorf("got seeds %v, want %v", c.Seeds, want)
	}
	if want := (ReportingServer{"", "10.0.0.9", 8443, 5 * time.Minute}); c.Report == nil || *c.Report != want {
		t.Errorf("got %v, want %v", c.Report, want)
	}
	write(t, filepath.Join(config, seedFile), `{"nodes":[{"fqdn":"from-config"}]}`)
	if c = load(); len(c.Seeds) != 1 || c.Seeds[0].FQDN != "from-config" {
		t.Errorf("got seeds %v, want that of the config directory", c.Seeds)
	}
	write(t, filepath.Join(config, seedFile), `{}`)
	if _, err := Load(source(t.TempDir(), nil, map[string]string{"CONFIG_DIR": config, "DATA_DIR": data})); err == nil {
		t.Error("a bad file in the config directory was passed over")
	}
}
