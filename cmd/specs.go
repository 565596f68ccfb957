package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/seahow-uk/nodeprobe/builtin"
	"github.com/seahow-uk/nodeprobe/core/config"
	"github.com/seahow-uk/nodeprobe/plugins"
	"github.com/seahow-uk/nodeprobe/sdk"
)

// snapshotReporter is the reporter that reportingserver.json configures.
const snapshotReporter = "snapshot"

// specs says which plugin processes a loaded configuration asks for: the
// built-in ones with their default probes, and those that plugins.enabled lists.
func specs(cfg *config.Config) []plugins.Spec { return newPlan(cfg).list() }

// unserved are the stanzas that no plugin can serve, and the settings in them that
// the built-in ones refuse; those that name a plugin which there is not are told by
// the configuration itself.
func unserved(cfg *config.Config) config.Errors { return newPlan(cfg).bad }

// absent are the plugins that cannot be started for want of a file. A node runs
// without them, and looks again; who checks a configuration wants to know.
func absent(cfg *config.Config) (bad config.Errors) {
	dir := cfg.Plugins.Directory
	info, err := os.Stat(dir)
	set := cfg.ErrorAt("plugins.directory", "").File != ""
	switch {
	case len(cfg.Plugins.Enabled) == 0 && !set:
		return nil
	case err != nil || !info.IsDir():
		return config.Errors{{Path: "plugins.directory", Message: fmt.Sprintf("%s is not a directory", dir)}}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Plugins.Enabled)) {
		if _, err := os.Stat(cfg.Plugins.Path(name)); errors.Is(err, fs.ErrNotExist) {
			bad = append(bad, config.Error{
				Path:    "plugins.enabled." + name + ".command",
				Message: fmt.Sprintf("there is no file %s", cfg.Plugins.Path(name)),
			})
		}
	}
	return bad
}

// placed is the error of plugins that refused their settings, with the places
// where these were read.
func placed(cfg *config.Config, err error) error {
	refused, ok := errors.AsType[plugins.ConfigErrors](err)
	if !ok {
		return err
	}
	bad := make(config.Errors, 0, len(refused))
	for _, e := range refused {
		bad = append(bad, cfg.ErrorAt(e.Path, e.Message))
	}
	return bad
}

// plan collects the specs by plugin name.
type plan struct {
	cfg   *config.Config
	specs map[string]*plugins.Spec
	// probes and reporters: which built-in plugin offers a kind.
	probes    map[string]offer
	reporters map[string]offer
	builtin   map[string]sdk.Plugin
	bad       config.Errors
}

type offer struct {
	plugin string
	info   sdk.KindInfo
}

func newPlan(cfg *config.Config) *plan {
	p := &plan{cfg: cfg, specs: map[string]*plugins.Spec{}, probes: map[string]offer{}, reporters: map[string]offer{}, builtin: builtin.All()}
	for name, plugin := range p.builtin {
		d := plugin.Describe()
		p.specs[name] = &plugins.Spec{Name: name, Builtin: true, Args: []string{pluginServe, name}}
		for _, info := range d.Probes {
			p.probes[info.Kind] = offer{name, info}
			p.grant(name, info)
		}
		for _, info := range d.Reporters {
			p.reporters[info.Kind] = offer{name, info}
			p.grant(name, info)
		}
	}
	for name, s := range cfg.Plugins.Enabled {
		p.specs[name] = &plugins.Spec{
			Name: name, Path: cfg.Plugins.Path(name), Args: s.Args, SHA256: s.SHA256,
			Env: s.Environ(), Grants: s.Grants, MemoryLimit: s.MemoryLimit,
		}
	}
	p.addStanzas()
	p.addDefaults()
	p.addReportingServer()
	return p
}

// grant gives a built-in plugin what it needs; others have it from the configuration.
func (p *plan) grant(plugin string, info sdk.KindInfo) {
	s := p.specs[plugin]
	for _, c := range info.Needs {
		if !slices.Contains(s.Grants, c) {
			s.Grants = append(s.Grants, c)
		}
	}
}

func (p *plan) refuse(path, format string, args ...any) {
	p.bad = append(p.bad, config.Error{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (p *plan) addStanzas() {
	for _, name := range slices.Sorted(maps.Keys(p.cfg.Probes)) {
		c := p.cfg.Probes[name]
		if s := p.serving("probes."+name, c.Plugin, c.Kind, p.probes); s != nil && c.IsEnabled() {
			p.check(s, "probes."+name, c.Kind, c.Config)
			interval := c.Interval
			if interval == 0 && p.probes[c.Kind].info.Identifies && c.Plugin == "" {
				interval = p.cfg.Interval
			}
			s.Probes = append(s.Probes, plugins.ProbeSpec{Name: name, Kind: c.Kind, Interval: interval, Timeout: c.Timeout, Config: c.Config})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.cfg.Reporters)) {
		c := p.cfg.Reporters[name]
		if s := p.serving("reporters."+name, c.Plugin, c.Kind, p.reporters); s != nil && c.IsEnabled() {
			p.check(s, "reporters."+name, c.Kind, c.Config)
			s.Reporters = append(s.Reporters, plugins.ReporterSpec{Name: name, Kind: c.Kind, Config: c.Config})
		}
	}
}

// check asks a built-in plugin about its settings, in its own words; others are
// asked when they run.
func (p *plan) check(s *plugins.Spec, path, kind string, conf json.RawMessage) {
	if !s.Builtin {
		return
	}
	for _, e := range p.builtin[s.Name].CheckConfig(kind, conf) {
		at := path + ".config"
		if e.Field != "" {
			at = strings.Replace(at+"."+e.Field, ".[", "[", 1)
		}
		p.refuse(at, "%s", e.Message)
	}
}

// serving finds the spec of the plugin that a stanza names, or of the built-in
// one that offers its kind; nil without one.
func (p *plan) serving(path, plugin, kind string, offers map[string]offer) *plugins.Spec {
	if plugin == "" {
		o, ok := offers[kind]
		if !ok {
			p.refuse(path, "no built-in plugin offers %q; want one of %s, or plugin: with a name from plugins.enabled",
				kind, strings.Join(slices.Sorted(maps.Keys(offers)), ", "))
			return nil
		}
		plugin = o.plugin
	}
	return p.specs[plugin]
}

// addDefaults runs every built-in probe that has an interval of its own and is
// in no stanza, under the name of its kind.
func (p *plan) addDefaults() {
	for _, kind := range slices.Sorted(maps.Keys(p.probes)) {
		o := p.probes[kind]
		if o.info.Interval == 0 || p.inStanza(o.plugin, kind) {
			continue
		}
		spec := plugins.ProbeSpec{Name: kind, Kind: kind}
		if o.info.Identifies {
			spec.Interval = p.cfg.Interval
		}
		p.specs[o.plugin].Probes = append(p.specs[o.plugin].Probes, spec)
	}
}

func (p *plan) inStanza(plugin, kind string) bool {
	for name, c := range p.cfg.Probes {
		if name == kind || c.Kind == kind && (c.Plugin == "" || c.Plugin == plugin) {
			return true
		}
	}
	return false
}

func (p *plan) addReportingServer() {
	r := p.cfg.Report
	o, ok := p.reporters[snapshotReporter]
	if r == nil || !ok {
		return
	}
	if _, taken := p.cfg.Reporters[snapshotReporter]; taken {
		p.refuse("reporters."+snapshotReporter, "reportingserver.json configures the reporter of this name too; remove one")
		return
	}
	conf, err := json.Marshal(map[string]any{"server_fqdn": r.FQDN, "server_ip": r.IP, "server_port": r.Port})
	if err != nil {
		p.refuse("reportingserver.json", "%v", err)
		return
	}
	s := p.specs[o.plugin]
	s.Reporters = append(s.Reporters, plugins.ReporterSpec{Name: snapshotReporter, Kind: snapshotReporter, Config: conf})
}

// list is every spec that has something to do, by name. A third-party plugin
// is started even if no stanza uses it yet: it was enabled by name.
func (p *plan) list() []plugins.Spec {
	var list []plugins.Spec
	for _, name := range slices.Sorted(maps.Keys(p.specs)) {
		s := p.specs[name]
		if s.Builtin && len(s.Probes) == 0 && len(s.Reporters) == 0 {
			continue
		}
		list = append(list, *s)
	}
	return list
}
