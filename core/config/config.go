package config

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// Trust says which keys are let into the mesh.
type Trust string

// The trust modes.
const (
	TrustOpen Trust = "open" // any self-signed key, recorded
	TrustTOFU Trust = "tofu" // pinned at first contact; a change is quarantine
)

// Config is the effective configuration. Load returns it valid; it is not
// changed afterwards and may be read concurrently.
type Config struct {
	// Listen is the TCP address to serve on, "host:port" or ":port".
	Listen string
	// Advertise is where peers can dial self, "host" or "host:port"; empty:
	// found out at start. AdvertiseAt gives it as an endpoint.
	Advertise string
	// NodeName is the FQDN that self goes by; empty: the host's.
	NodeName string
	// DataDir, CertDir and ConfigDir are absolute. They need not exist.
	DataDir, CertDir, ConfigDir string
	// Interval is how often each peer is polled: the interval of the probes
	// that decide whether a peer is alive, unless their stanza has its own.
	Interval time.Duration
	// LogLevel is trace, debug, info, warn or error; LogFormat text or json.
	LogLevel, LogFormat string
	Trust               Trust
	Discovery           Discovery
	// Probes and Reporters by the name of the instance. The plugins' own
	// defaults are not in here.
	Probes    map[string]Probe
	Reporters map[string]Reporter
	Plugins   Plugins
	Storage   Storage
	// ReportEvery is the time between two network snapshots.
	ReportEvery time.Duration
	Web         Web
	// Seeds come from seed.json.
	Seeds []Seed
	// Report comes from reportingserver.json; nil without that file.
	Report *ReportingServer

	watched []string          // see Files
	sources []string          // files that were read
	origins map[string]origin // see ErrorAt
}

// Discovery bounds which addresses are dialled. Nothing in AllowCIDRs allows
// all; DenyCIDRs wins.
type Discovery struct {
	AllowCIDRs, DenyCIDRs []netip.Prefix
}

// Probe is a stanza of probes. Zero durations mean the plugin's default.
type Probe struct {
	// Plugin that offers the kind; empty: the one that ships with it.
	Plugin string
	// Kind is the stanza's name unless it says otherwise.
	Kind string
	// Enabled is nil when the stanza does not say; IsEnabled tells.
	Enabled           *bool
	Interval, Timeout time.Duration
	// Config is a JSON object for the plugin; nil when there is none.
	Config json.RawMessage
}

// IsEnabled is true unless the stanza says enabled: false.
func (p Probe) IsEnabled() bool { return p.Enabled == nil || *p.Enabled }

// Reporter is a stanza of reporters; the fields are those of Probe.
type Reporter struct {
	Plugin, Kind string
	Enabled      *bool
	Config       json.RawMessage
}

// IsEnabled is true unless the stanza says enabled: false.
func (r Reporter) IsEnabled() bool { return r.Enabled == nil || *r.Enabled }

// Plugins are the third-party plugins that may be started.
type Plugins struct {
	// Directory holds the executables; absolute.
	Directory string
	Enabled   map[string]Plugin
}

// Path is the executable of the named plugin.
func (p Plugins) Path(name string) string {
	return filepath.Join(p.Directory, p.Enabled[name].Command)
}

// Plugin is a stanza of plugins.enabled.
type Plugin struct {
	// Command is the executable, below Plugins.Directory.
	Command string
	Args    []string
	// SHA256 of the executable, 64 hexadecimal digits.
	SHA256 string
	Env    map[string]Secret
	// Grants are the capabilities that the plugin is given.
	Grants []string
	// MemoryLimit in bytes; 0: the host's default.
	MemoryLimit int64
}

// Environ is Env with its secrets open.
func (p Plugin) Environ() map[string]string {
	env := make(map[string]string, len(p.Env))
	for name, v := range p.Env {
		env[name] = v.Value()
	}
	return env
}

// Storage says where the history is kept, and bounds it. MaxSize is bytes, file
// and write-ahead log together.
type Storage struct {
	// DSN is the URL of a PostgreSQL database; empty: a file in DataDir.
	DSN         Secret
	MaxSize     int64
	Raw, Rollup time.Duration
}

// Web holds the settings of the HTTPS server.
type Web struct {
	// AllowedHosts are names that a request may ask for beside self's own.
	AllowedHosts []string
}

// Seed is a first peer. FQDN or IP may be empty, not both; Port is never 0.
type Seed struct {
	FQDN, IP string
	Port     uint16
	// ID that the seed must prove; zero: any.
	ID core.NodeID
}

// ReportingServer is where network snapshots go. FQDN or IP may be empty, not
// both; Port is never 0.
type ReportingServer struct {
	FQDN, IP string
	Port     uint16
	Every    time.Duration
}

// Default is the configuration without any file, variable or flag. Empty
// directories are filled in by Load.
func Default() *Config {
	return &Config{
		Listen:      ":443",
		Interval:    30 * time.Second,
		LogLevel:    "info",
		LogFormat:   "text",
		Trust:       TrustTOFU,
		Probes:      map[string]Probe{},
		Reporters:   map[string]Reporter{},
		Plugins:     Plugins{Enabled: map[string]Plugin{}},
		Storage:     Storage{MaxSize: 10_000_000, Raw: 24 * time.Hour, Rollup: 30 * 24 * time.Hour},
		ReportEvery: 5 * time.Minute,
	}
}

// AdvertiseAt is where peers can dial self when it listens on port; ok is
// false when Advertise is not set.
func (c *Config) AdvertiseAt(port uint16) (e core.Endpoint, ok bool) {
	e, err := core.ParseEndpoint(c.Advertise, port)
	return e, err == nil && c.Advertise != ""
}

// MaxTimeout is the longest timeout that fits an interval: 0.8 of it, so that
// a run always ends before the next one is due.
func MaxTimeout(interval time.Duration) time.Duration { return interval / 5 * 4 }
