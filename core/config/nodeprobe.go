package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads at most one YAML document; nil when there is none. An error
// is a *lineError.
func parseYAML(data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, yamlSyntax(err)
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, &lineError{more.Line, "a second document; want only one"}
	case !errors.Is(err, io.EOF):
		return nil, yamlSyntax(err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^yaml: line ([0-9]+): (.*)`)

// yamlSyntax takes the line out of the library's message; nil at the end.
func yamlSyntax(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	line, msg := 0, err.Error()
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = m[2]
	}
	if strings.Contains(msg, "cannot start any token") {
		msg += "; indent with spaces, not tabs, and quote text that begins with @, ` or %"
	}
	return &lineError{line, "not valid YAML: " + strings.TrimPrefix(msg, "yaml: ")}
}

// config reads nodeprobe.yaml. What it does not say stays as it is.
func (d *decoder) config(c *Config) reader {
	return d.object(fields{
		"listen":    scalar(d, &c.Listen, asText),
		"advertise": d.text(&c.Advertise),
		"node_name": d.text(&c.NodeName),
		"data_dir":  d.path(&c.DataDir),
		"cert_dir":  d.path(&c.CertDir),
		"interval":  scalar(d, &c.Interval, parseDuration),
		"trust":     scalar(d, &c.Trust, func(s string) (Trust, error) { return Trust(s), nil }),
		"log": d.object(fields{
			"level":  d.text(&c.LogLevel),
			"format": d.text(&c.LogFormat),
		}),
		"discovery": d.object(fields{
			"allow_cidrs": items(d, &c.Discovery.AllowCIDRs, parsePrefix),
			"deny_cidrs":  items(d, &c.Discovery.DenyCIDRs, parsePrefix),
		}),
		"probes":    d.named(d.probe(c)),
		"reporters": d.named(d.reporter(c)),
		"plugins": d.object(fields{
			"directory": d.path(&c.Plugins.Directory),
			"enabled":   d.named(d.plugin(c)),
		}),
		"storage": d.object(fields{
			"dsn":      typed(d, "!!str", "text", &c.Storage.DSN, asSecret),
			"max_size": scalar(d, &c.Storage.MaxSize, parseSize),
			"raw":      scalar(d, &c.Storage.Raw, parseDuration),
			"rollup":   scalar(d, &c.Storage.Rollup, parseDuration),
		}),
		"report": d.object(fields{
			"every": scalar(d, &c.ReportEvery, parseDuration),
		}),
		"web": d.object(fields{
			"allowed_hosts": items(d, &c.Web.AllowedHosts, asText),
		}),
	})
}

func (d *decoder) probe(c *Config) func(string) reader {
	return func(name string) reader {
		return func(n *yaml.Node, path string) {
			p := Probe{Kind: name}
			d.object(fields{
				"plugin":   d.text(&p.Plugin),
				"kind":     d.text(&p.Kind),
				"enabled":  d.flag(&p.Enabled),
				"interval": scalar(d, &p.Interval, positiveDuration),
				"timeout":  scalar(d, &p.Timeout, positiveDuration),
				"config":   d.jsonObject(&p.Config),
			})(n, path)
			c.Probes[name] = p
		}
	}
}

func (d *decoder) reporter(c *Config) func(string) reader {
	return func(name string) reader {
		return func(n *yaml.Node, path string) {
			r := Reporter{Kind: name}
			d.object(fields{
				"plugin":  d.text(&r.Plugin),
				"kind":    d.text(&r.Kind),
				"enabled": d.flag(&r.Enabled),
				"config":  d.jsonObject(&r.Config),
			})(n, path)
			c.Reporters[name] = r
		}
	}
}

func (d *decoder) plugin(c *Config) func(string) reader {
	return func(name string) reader {
		return func(n *yaml.Node, path string) {
			p := Plugin{Command: name, Env: map[string]Secret{}}
			d.object(fields{
				"command":      d.text(&p.Command),
				"args":         items(d, &p.Args, asText),
				"sha256":       scalar(d, &p.SHA256, asText),
				"env":          d.environ(p.Env),
				"grants":       items(d, &p.Grants, asText),
				"memory_limit": scalar(d, &p.MemoryLimit, parseSize),
			})(n, path)
			c.Plugins.Enabled[name] = p
		}
	}
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (d *decoder) environ(env map[string]Secret) reader {
	return func(n *yaml.Node, path string) {
		d.each(n, path, func(key, value *yaml.Node, at string) {
			if !envName.MatchString(key.Value) {
				d.failf(key, at, "not the name of a variable; want letters, digits and _")
				return
			}
			var v Secret
			scalar(d, &v, asSecret)(value, at)
			env[key.Value] = v
		})
	}
}

func (d *decoder) text(to *string) reader { return typed(d, "!!str", "text", to, asText) }

// path reads a file name; relative ones count from the file's folder.
func (d *decoder) path(to *string) reader {
	return typed(d, "!!str", "a path", to, func(s string) (string, error) {
		if s == "" || filepath.IsAbs(s) {
			return s, nil
		}
		return filepath.Abs(filepath.Join(filepath.Dir(d.file), s))
	})
}

func (d *decoder) flag(to **bool) reader {
	return typed(d, "!!bool", "true or false", to, func(s string) (*bool, error) {
		b, err := strconv.ParseBool(s)
		return &b, err
	})
}

// items reads a list; it replaces the default.
func items[T any](d *decoder, to *[]T, parse func(string) (T, error)) reader {
	return func(n *yaml.Node, path string) {
		*to = nil
		d.list(func(item *yaml.Node, at string) {
			errs := len(d.errs)
			var v T
			if scalar(d, &v, parse)(item, at); len(d.errs) == errs {
				*to = append(*to, v)
			}
		})(n, path)
	}
}

func asText(s string) (string, error)   { return s, nil }
func asSecret(s string) (Secret, error) { return Secret(s), nil }

// positiveDuration is for settings where 0 stands for "not set".
func positiveDuration(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if err == nil && d == 0 {
		err = fmt.Errorf("%q is no time at all; want a duration, or remove the line for the default", s)
	}
	return d, err
}

func parsePrefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return netip.Prefix{}, fmt.Errorf("%q is one address; write \"%s/%d\"", s, s, ip.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil, p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf(`%.60q is not a network; want one such as "10.0.0.0/8" or "fd00::/8"`, s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its length; write %q", s, p.Masked())
	}
	return p, nil
}
