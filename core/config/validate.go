package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// Capabilities are what plugins can be granted, beside the secret of a service
// of the plugin's own, "service.NAME".
func Capabilities() []string { return []string{"identity", "services"} }

func grantable(grant string) error {
	if name, ok := strings.CutPrefix(grant, "service."); ok {
		if !core.ValidServiceName(name) {
			return fmt.Errorf("%.80q: want service. and the name of a service, a-z, 0-9 and hyphens, at most 32", grant)
		}
		return nil
	}
	return oneOf(grant, Capabilities()...)
}

// The bounds of intervals and sizes.
const (
	minInterval = time.Second
	maxInterval = 24 * time.Hour
	// A shorter timeout than this fails on scheduling alone.
	minTimeout = 10 * time.Millisecond
	// The schema and a few peers take some hundred kilobytes.
	minStorage = 1_000_000
	// A Go plugin needs about 20 MiB of address space that counts.
	minMemory = 32 << 20
)

// validate judges the whole; with paths only, as files and lines are known to Load
// alone.
func (c *Config) validate() Errors {
	var v verdict
	v.check("listen", checkListen(c.Listen))
	v.check("advertise", checkAdvertise(c.Advertise))
	if c.NodeName != "" {
		_, err := hostName(c.NodeName)
		v.check("node_name", err)
	}
	v.check("interval", within(c.Interval, minInterval, maxInterval))
	v.check("log.level", oneOf(c.LogLevel, "trace", "debug", "info", "warn", "error"))
	v.check("log.format", oneOf(c.LogFormat, "text", "json"))
	v.check("trust", oneOf(string(c.Trust), string(TrustOpen), string(TrustTOFU)))
	for _, name := range slices.Sorted(maps.Keys(c.Probes)) {
		v.probe("probes."+name, c.Probes[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Reporters)) {
		v.offer("reporters."+name, c.Reporters[name].Plugin, c.Reporters[name].Kind)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Plugins.Enabled)) {
		v.plugin("plugins.enabled."+name, c.Plugins.Enabled[name])
	}
	v.storage(c.Storage)
	v.check("report.every", within(c.ReportEvery, minInterval, maxInterval))
	for i, host := range c.Web.AllowedHosts {
		v.check(fmt.Sprintf("web.allowed_hosts[%d]", i), checkHost(host))
	}
	return v.errs
}

// verdict collects what is wrong.
type verdict struct{ errs Errors }

func (v *verdict) check(path string, err error) {
	if err != nil {
		v.errs = append(v.errs, Error{Path: path, Message: err.Error()})
	}
}

func (v *verdict) probe(path string, p Probe) {
	v.offer(path, p.Plugin, p.Kind)
	if p.Interval != 0 {
		v.check(path+".interval", within(p.Interval, minInterval, maxInterval))
	}
	switch {
	case p.Timeout == 0:
	case p.Interval != 0 && p.Timeout > MaxTimeout(p.Interval):
		v.check(path+".timeout", fmt.Errorf("%s is too long for the interval of %s; at most %s (80 %% of it)",
			formatDuration(p.Timeout), formatDuration(p.Interval), formatDuration(MaxTimeout(p.Interval))))
	default:
		v.check(path+".timeout", within(p.Timeout, minTimeout, MaxTimeout(maxInterval)))
	}
}

// offer checks how a stanza names what a plugin offers.
func (v *verdict) offer(path, plugin, kind string) {
	if plugin != "" {
		v.check(path+".plugin", checkName(plugin))
	}
	v.check(path+".kind", checkName(kind))
}

var sha256Pattern = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func (v *verdict) plugin(path string, p Plugin) {
	if !filepath.IsLocal(p.Command) || filepath.Clean(p.Command) == "." {
		v.check(path+".command", fmt.Errorf("%.80q is not in the plugin directory; want the name of an executable there", p.Command))
	}
	switch {
	case p.SHA256 == "":
		v.check(path+".sha256", fmt.Errorf(`missing; want what "sha256sum %s" prints`, p.Command))
	case !sha256Pattern.MatchString(p.SHA256):
		v.check(path+".sha256", fmt.Errorf("%.80q is not a SHA-256; want 64 hexadecimal digits", p.SHA256))
	}
	for i, grant := range p.Grants {
		v.check(fmt.Sprintf("%s.grants[%d]", path, i), grantable(grant))
	}
	if p.MemoryLimit != 0 && p.MemoryLimit < minMemory {
		v.check(path+".memory_limit", fmt.Errorf("%s is too small; at least %s", formatSize(p.MemoryLimit), formatSize(minMemory)))
	}
}

func (v *verdict) storage(s Storage) {
	v.check("storage.dsn", checkDSN(s.DSN.Value()))
	if s.MaxSize < minStorage {
		v.check("storage.max_size", fmt.Errorf("%s is too small; at least %s", formatSize(s.MaxSize), formatSize(minStorage)))
	}
	v.check("storage.raw", within(s.Raw, time.Hour, 3650*day))
	if err := within(s.Rollup, time.Hour, 3650*day); err != nil {
		v.check("storage.rollup", err)
	} else if s.Rollup < s.Raw {
		v.check("storage.rollup", fmt.Errorf("%s is shorter than storage.raw; at least %s", formatDuration(s.Rollup), formatDuration(s.Raw)))
	}
}

// checkDSN does not repeat the URL, which may hold a password.
func checkDSN(dsn string) error {
	if dsn == "" {
		return nil
	}
	u, err := url.Parse(dsn)
	switch {
	case err != nil, u.Scheme != "postgres" && u.Scheme != "postgresql", u.Opaque != "":
		return errors.New(`not the URL of a PostgreSQL database; want one such as "postgres://user:password@db.example.com/nodeprobe"`)
	case strings.Trim(u.Path, "/") == "" && u.Query().Get("dbname") == "":
		return errors.New(`names no database; want one behind the host, such as "postgres://db.example.com/nodeprobe"`)
	}
	return nil
}

// unknownPlugins are stanzas that name a plugin that there is not, and plugins
// that take the name of one that ships.
func (c *Config) unknownPlugins(builtin []string) Errors {
	var v verdict
	known := slices.Concat(builtin, slices.Collect(maps.Keys(c.Plugins.Enabled)))
	slices.Sort(known)
	refer := func(path, plugin string) {
		if plugin != "" && checkName(plugin) == nil {
			v.check(path, oneOf(plugin, known...))
		}
	}
	for name, p := range c.Probes {
		refer("probes."+name+".plugin", p.Plugin)
	}
	for name, r := range c.Reporters {
		refer("reporters."+name+".plugin", r.Plugin)
	}
	for _, name := range builtin {
		if _, taken := c.Plugins.Enabled[name]; taken {
			v.check("plugins.enabled."+name, fmt.Errorf("%q is the name of a plugin that ships; choose another", name))
		}
	}
	slices.SortFunc(v.errs, func(a, b Error) int { return cmp.Compare(a.Path, b.Path) })
	return v.errs
}

func within(d, least, most time.Duration) error {
	switch {
	case d < least:
		return fmt.Errorf("%s is too short; want %s to %s", formatDuration(d), formatDuration(least), formatDuration(most))
	case d > most:
		return fmt.Errorf("%s is too long; want %s to %s", formatDuration(d), formatDuration(least), formatDuration(most))
	}
	return nil
}

func checkName(s string) error {
	if !namePattern.MatchString(s) {
		return fmt.Errorf("%.80q is not a name; want a letter, then letters, digits, - and _, all lower case, at most 63", s)
	}
	return nil
}

// checkListen wants "host:port" or ":port"; port 0 lets the system choose.
func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	_, perr := strconv.ParseUint(port, 10, 16)
	switch {
	case err == nil && perr == nil && (host == "" || checkHost(host) == nil):
		return nil
	case bareNumber.MatchString(s):
		return fmt.Errorf("%.20s is only a port; write %q", s, ":"+s)
	}
	return fmt.Errorf(`%.80q is not an address to listen on; want ":8443", "192.168.1.10:8443" or "[fd00::1]:8443"`, s)
}

func checkAdvertise(s string) error {
	if s == "" {
		return nil
	}
	e, err := core.ParseEndpoint(s, core.DefaultPort)
	if err != nil {
		return fmt.Errorf(`%.80q is not an address to dial; want "host", "host:port" or "[fd00::1]:8443"`, s)
	}
	if ip := e.IP(); ip.IsValid() && !ofOneHost(ip) {
		return fmt.Errorf("%q is not the address of one host; peers could not dial it", s)
	}
	return nil
}

// checkHost wants a host name or an IP address.
func checkHost(s string) error {
	if _, err := netip.ParseAddr(s); err == nil || core.ValidHostName(s) {
		return nil
	}
	return fmt.Errorf("%.80q is neither a host name nor an IP address", s)
}
