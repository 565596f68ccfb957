package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Source is where settings come from beside the files.
type Source struct {
	// Flags holds the flags that were set, by name without dashes ("data-dir").
	// Others than those of Flags are ignored.
	Flags map[string]string
	// Getenv is os.Getenv if nil. An empty variable counts as not set.
	Getenv func(string) string
	// Environ is what os.Environ gives; nil: unknown NODEPROBE_ variables are
	// not looked for.
	Environ []string
	// Builtin are the names of the plugins that ship; nil: the plugins that
	// stanzas name are not checked.
	Builtin []string
	// Judge tells what else is wrong, with paths, such as a probe that no plugin
	// offers: it is told together with the rest. Nil: nothing is.
	Judge func(*Config) Errors

	// exists tells whether a directory is there; replaced in tests.
	exists func(string) bool
}

// FromOS is the source of a process: its environment, and the flags given.
func FromOS(flags map[string]string) Source {
	return Source{Flags: flags, Getenv: os.Getenv, Environ: os.Environ()}
}

// Flag is a setting that can be given as a flag, and as the variable Env; also
// as the variable Bare, which gives way to Env.
type Flag struct {
	Name, Env, Bare string
	// Secret is what must not be given as a flag, which everybody on the host can
	// see.
	Secret bool
	// Usage is one line; the word in back quotes stands for the value.
	Usage string

	// path is the key in nodeprobe.yaml that it wins over; empty: none.
	path string
	set  func(c *Config, value string) error
}

// Flags are all flags of the configuration, for the command line to offer but
// for those that are secret.
func Flags() []Flag {
	fs := []Flag{
		{Name: "config", Usage: "`file` with the settings (default nodeprobe.yaml in the config directory)"},
		{Name: "config-dir", Bare: "CONFIG_DIR", Usage: "`directory` of nodeprobe.yaml, seed.json and reportingserver.json"},
		{Name: "data-dir", Bare: "DATA_DIR", path: "data_dir", set: setPath(func(c *Config) *string { return &c.DataDir }), Usage: "`directory` of the database and the identity"},
		{Name: "cert-dir", Bare: "CERT_DIR", path: "cert_dir", set: setPath(func(c *Config) *string { return &c.CertDir }), Usage: "`directory` of the certificate"},
		{Name: "listen", path: "listen", set: setText(func(c *Config) *string { return &c.Listen }), Usage: "TCP `address` to serve on (default :443)"},
		{Name: "advertise", path: "advertise", set: setText(func(c *Config) *string { return &c.Advertise }), Usage: "`address` where peers can dial this node (default: found out)"},
		{Name: "node-name", path: "node_name", set: setText(func(c *Config) *string { return &c.NodeName }), Usage: "`name` of this node (default: the host's FQDN)"},
		{Name: "interval", path: "interval", set: setInterval, Usage: "`time` between two polls of a peer (default 30s)"},
		{Name: "log-level", path: "log.level", set: setText(func(c *Config) *string { return &c.LogLevel }), Usage: "`level`: trace, debug, info, warn or error (default info)"},
		{Name: "log-format", path: "log.format", set: setText(func(c *Config) *string { return &c.LogFormat }), Usage: "`format`: text or json (default text)"},
		{Name: "storage-dsn", Secret: true, path: "storage.dsn", set: setDSN, Usage: "`URL` of a PostgreSQL database for the history"},
	}
	for i := range fs {
		fs[i].Env = "NODEPROBE_" + strings.ToUpper(strings.ReplaceAll(fs[i].Name, "-", "_"))
	}
	return fs
}

func setText(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		*field(c) = value
		return nil
	}
}

func setPath(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) (err error) {
		*field(c), err = filepath.Abs(value)
		return err
	}
}

func setDSN(c *Config, value string) error {
	c.Storage.DSN = Secret(value)
	return nil
}

func setInterval(c *Config, value string) error {
	d, err := parseDuration(value)
	if err == nil {
		c.Interval = d
	}
	return err
}

// lookup is the value of a flag and the name it was given by; ok is false when
// it was not given.
func (s Source) lookup(f Flag) (value, from string, ok bool) {
	if v, ok := s.Flags[f.Name]; ok && !f.Secret {
		return v, "--" + f.Name, true
	}
	for _, name := range []string{f.Env, f.Bare} {
		if name == "" {
			continue
		}
		if v := s.Getenv(name); v != "" {
			return v, name, true
		}
	}
	return "", "", false
}

// named is lookup by the flag's name.
func (s Source) named(name string) (value, from string, ok bool) {
	for _, f := range Flags() {
		if f.Name == name {
			return s.lookup(f)
		}
	}
	return "", "", false
}

// serviceLink matches what Kubernetes sets for every service called nodeprobe
// or nodeprobe-something; NODEPROBE_PORT itself is told by its value.
var serviceLink = regexp.MustCompile(`^NODEPROBE_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// unknownVariables are errors for variables that look like ours and are not.
func (s Source) unknownVariables() (errs Errors) {
	var known []string
	for _, f := range Flags() {
		known = append(known, f.Env)
	}
	for _, pair := range s.Environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "NODEPROBE_") || slices.Contains(known, name) {
			continue
		}
		if serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://") {
			continue
		}
		errs = append(errs, Error{Path: name, Message: wrongWord("unknown variable", name, known).Error()})
	}
	return errs
}
