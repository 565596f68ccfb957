package report

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// version of the reporter.
const version = "1.0.0"

// stateName is of the directory where the reporter keeps pinned keys.
const stateName = "snapshot"

// defaultPort is where nodes listen that do not say.
const defaultPort = 443

// Config is reportingserver.json, or what nodeprobe.yaml says below
// reporters.snapshot.config.
type Config struct {
	// ServerFQDN is a host name. ServerIP is dialled when there is no name or it
	// does not resolve. One of the two is needed.
	ServerFQDN string `json:"server_fqdn" jsonschema:"host name of the reporting server"`
	ServerIP   string `json:"server_ip" jsonschema:"IP address of the reporting server, for when there is no name or it does not resolve"`
	ServerPort uint16 `json:"server_port" jsonschema:"TCP port of the reporting server; default 443"`
	// ServerSPKI pins the key of the server: 64 hexadecimal digits. Empty: the key
	// that took the first snapshot is pinned.
	ServerSPKI string `json:"server_spki_sha256" jsonschema:"SHA-256 of the server's public key (SubjectPublicKeyInfo), 64 hexadecimal digits; default: the key seen first"`
	// Timeout of one delivery, 1 s to 5 min; default 30 s, which is what the
	// original gives its own.
	Timeout time.Duration `json:"timeout" jsonschema:"how long one delivery may take, 1s to 5m; default 30s"`
}

// Limits of Config.Timeout.
const (
	defaultTimeout = 30 * time.Second
	minTimeout     = time.Second
	maxTimeout     = 5 * time.Minute
)

// SetDefaults implements sdk.Defaulter.
func (c *Config) SetDefaults() {
	c.ServerPort = defaultPort
	c.Timeout = defaultTimeout
}

// Validate implements sdk.Validator.
func (c *Config) Validate() error {
	var errs []error
	if c.ServerFQDN == "unknown" { // what the original writes for "none"
		c.ServerFQDN = ""
	}
	if c.ServerFQDN == "" && c.ServerIP == "" {
		errs = append(errs, sdk.Invalid("server_fqdn", "give a host name, or an address in server_ip"))
	}
	if c.ServerFQDN != "" && !isHostName(c.ServerFQDN) {
		errs = append(errs, sdk.Invalid("server_fqdn", "got %.80q, want a host name without scheme, port and path", c.ServerFQDN))
	}
	if ip, err := netip.ParseAddr(c.ServerIP); c.ServerIP != "" && (err != nil || ip.Zone() != "") {
		errs = append(errs, sdk.Invalid("server_ip", "got %.80q, want an IP address", c.ServerIP))
	}
	if c.ServerPort == 0 {
		errs = append(errs, sdk.Invalid("server_port", "got 0, want 1 to 65535"))
	}
	if b, err := hex.DecodeString(c.ServerSPKI); c.ServerSPKI != "" && (err != nil || len(b) != 32) {
		errs = append(errs, sdk.Invalid("server_spki_sha256", "got %.80q, want 64 hexadecimal digits", c.ServerSPKI))
	}
	if t := c.Timeout; t < minTimeout || t > maxTimeout {
		errs = append(errs, sdk.Invalid("timeout", "got %s, want %s to %s", t, minTimeout, maxTimeout))
	}
	return errors.Join(errs...)
}

// isHostName tells that s has only what names are made of; whether it is one,
// the resolver knows.
func isHostName(s string) bool {
	strange := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}
	return len(s) <= 253 && !strings.ContainsFunc(s, strange)
}

// Part is the reporter, to be offered by a plugin.
func Part() sdk.Part {
	known := newPins()
	create := func(c Config, env sdk.Env) (sdk.Reporter, error) {
		r, err := newReporter(c, env, known)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	return sdk.NewReporter("snapshot", version, create,
		sdk.Summary("posts the newest snapshot of the network to a reporting server"),
		sdk.Needs(sdk.CapabilityIdentity, sdk.CapabilityState(stateName)),
		sdk.Wants(sdk.RecordSnapshot),
	)
}
