package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Show is the effective configuration as YAML that loads again. Values of the
// plugins' environment, and what is called a secret in a plugin's config, are
// shown as "[redacted]", passwords in URLs as "xxxxx". The files that were read, the seeds and the reporting
// server stand in comments.
func (c *Config) Show() ([]byte, error) {
	doc, err := c.document()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, line := range c.remarks() {
		fmt.Fprintf(&out, "# %s\n", line)
	}
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("show configuration: %w", err)
	}
	return out.Bytes(), enc.Close()
}

// remarks are what the YAML itself cannot hold.
func (c *Config) remarks() (lines []string) {
	for _, file := range c.sources {
		lines = append(lines, fmt.Sprintf("read: %q", file))
	}
	lines = append(lines, fmt.Sprintf("config directory: %q", c.ConfigDir))
	for _, s := range c.Seeds {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("seed: %s %s port %d %s", s.FQDN, s.IP, s.Port, s.ID)))
	}
	if r := c.Report; r != nil {
		lines = append(lines, fmt.Sprintf("reporting server: %s %s port %d", r.FQDN, r.IP, r.Port))
	}
	return lines
}

// document is nodeprobe.yaml with every key, in the order in which it is shown.
type document struct {
	Listen    string            `yaml:"listen"`
	Advertise string            `yaml:"advertise"`
	NodeName  string            `yaml:"node_name"`
	DataDir   string            `yaml:"data_dir"`
	CertDir   string            `yaml:"cert_dir"`
	Interval  string            `yaml:"interval"`
	Trust     Trust             `yaml:"trust"`
	Log       showLog           `yaml:"log"`
	Discovery showDiscovery     `yaml:"discovery"`
	Probes    map[string]stanza `yaml:"probes"`
	Reporters map[string]stanza `yaml:"reporters"`
	Plugins   showPlugins       `yaml:"plugins"`
	Storage   showStorage       `yaml:"storage"`
	Report    showReport        `yaml:"report"`
	Web       showWeb           `yaml:"web"`
}

type (
	showLog struct {
		Level  string `yaml:"level"`
		Format string `yaml:"format"`
	}
	showDiscovery struct {
		AllowCIDRs []netip.Prefix `yaml:"allow_cidrs"`
		DenyCIDRs  []netip.Prefix `yaml:"deny_cidrs"`
	}
	showPlugins struct {
		Directory string                `yaml:"directory"`
		Enabled   map[string]showPlugin `yaml:"enabled"`
	}
	showPlugin struct {
		Command     string            `yaml:"command"`
		Args        []string          `yaml:"args,omitempty"`
		SHA256      string            `yaml:"sha256"`
		Env         map[string]Secret `yaml:"env,omitempty"`
		Grants      []string          `yaml:"grants,omitempty"`
		MemoryLimit string            `yaml:"memory_limit,omitempty"`
	}
	showStorage struct {
		DSN     string `yaml:"dsn"`
		MaxSize string `yaml:"max_size"`
		Raw     string `yaml:"raw"`
		Rollup  string `yaml:"rollup"`
	}
	showReport struct {
		Every string `yaml:"every"`
	}
	showWeb struct {
		AllowedHosts []string `yaml:"allowed_hosts"`
	}
	// stanza of a probe or a reporter.
	stanza struct {
		Plugin   string     `yaml:"plugin,omitempty"`
		Kind     string     `yaml:"kind"`
		Enabled  *bool      `yaml:"enabled,omitempty"`
		Interval string     `yaml:"interval,omitempty"`
		Timeout  string     `yaml:"timeout,omitempty"`
		Config   *yaml.Node `yaml:"config,omitempty"`
	}
)

func (c *Config) document() (*document, error) {
	doc := &document{
		Listen: c.Listen, Advertise: c.Advertise, NodeName: c.NodeName, DataDir: c.DataDir, CertDir: c.CertDir,
		Interval: formatDuration(c.Interval), Trust: c.Trust,
		Log:       showLog{c.LogLevel, c.LogFormat},
		Discovery: showDiscovery(c.Discovery),
		Probes:    map[string]stanza{}, Reporters: map[string]stanza{},
		Plugins: showPlugins{c.Plugins.Directory, map[string]showPlugin{}},
		Storage: showStorage{redactDSN(c.Storage.DSN), formatSize(c.Storage.MaxSize), formatDuration(c.Storage.Raw), formatDuration(c.Storage.Rollup)},
		Report:  showReport{formatDuration(c.ReportEvery)},
		Web:     showWeb(c.Web),
	}
	for name, p := range c.Probes {
		config, err := showConfig(p.Config)
		if err != nil {
			return nil, fmt.Errorf("show probe %s: %w", name, err)
		}
		doc.Probes[name] = stanza{p.Plugin, p.Kind, p.Enabled, unlessZero(p.Interval, formatDuration), unlessZero(p.Timeout, formatDuration), config}
	}
	for name, r := range c.Reporters {
		config, err := showConfig(r.Config)
		if err != nil {
			return nil, fmt.Errorf("show reporter %s: %w", name, err)
		}
		doc.Reporters[name] = stanza{Plugin: r.Plugin, Kind: r.Kind, Enabled: r.Enabled, Config: config}
	}
	for name, p := range c.Plugins.Enabled {
		doc.Plugins.Enabled[name] = showPlugin{p.Command, p.Args, p.SHA256, p.Env, p.Grants, unlessZero(p.MemoryLimit, formatSize)}
	}
	return doc, nil
}

// unlessZero leaves out what the plugin's own default stands for.
func unlessZero[T comparable](v T, format func(T) string) string {
	var zero T
	if v == zero {
		return ""
	}
	return format(v)
}

// showConfig is a plugin's configuration with its secrets hidden.
func showConfig(config json.RawMessage) (*yaml.Node, error) {
	if config == nil {
		return nil, nil
	}
	n, err := parseJSON(config)
	if err != nil {
		return nil, err
	}
	redact(n, false)
	return n, nil
}

// redactDSN hides the passwords in a URL that is valid.
func redactDSN(dsn Secret) string {
	u, err := url.Parse(dsn.Value())
	if err != nil {
		return redacted
	}
	q := u.Query()
	for name := range q {
		if secretKey.MatchString(name) {
			q.Set(name, "xxxxx")
			u.RawQuery = q.Encode()
		}
	}
	return u.Redacted()
}

// secretKey matches the keys whose values are hidden.
var secretKey = regexp.MustCompile(`(?i)pass(word|wd|phrase)|secret|token|api_?-?key|private_?-?key|credential|authorization`)

// redact hides the scalars below n: all of them, or those of secret keys and
// passwords in URLs.
func redact(n *yaml.Node, all bool) {
	n.Line = 0
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			quote(n.Content[i])
			redact(n.Content[i+1], all || secretKey.MatchString(n.Content[i].Value))
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			redact(item, all)
		}
	case yaml.ScalarNode:
		if all {
			n.Tag, n.Value = "!!str", redacted
		} else if u, err := url.Parse(n.Value); err == nil && u.User != nil {
			n.Value = u.Redacted()
		}
		quote(n)
	}
}

// quote keeps a text of several lines in one: as a block, which is how it is
// written otherwise, one that begins with a tab cannot be read again.
func quote(n *yaml.Node) {
	if strings.ContainsAny(n.Value, "\n\t") {
		n.Style = yaml.DoubleQuotedStyle
	}
}
