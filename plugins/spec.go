package plugins

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

// Spec is what the settings say about one plugin process.
type Spec struct {
	// Name of the plugin in settings, logs and status; unique.
	Name string
	// Builtin plugins are the host's own binary, executed again; they need no hash.
	Builtin bool
	// Path of the executable. Empty for a built-in plugin: the running binary.
	Path string
	Args []string
	// SHA256 of the executable in hexadecimal digits; required when not Builtin.
	SHA256 string
	// Env is added to the short list of variables that plugins get.
	Env map[string]string
	// Grants are the capabilities whose values the plugin may have.
	Grants []string
	// MemoryLimit in bytes; 0 means 256 MiB, negative means none.
	MemoryLimit int64
	Probes      []ProbeSpec
	Reporters   []ReporterSpec
}

// ProbeSpec is one configured probe.
type ProbeSpec struct {
	// Name of the instance, unique over all plugins; Kind as the plugin offers it.
	Name, Kind string
	// Interval and Timeout; 0 means the plugin's default.
	Interval, Timeout time.Duration
	// Config is a JSON object; empty means {}.
	Config json.RawMessage
}

// ReporterSpec is one configured reporter.
type ReporterSpec struct {
	Name, Kind string
	Config     json.RawMessage
}

const (
	defaultMemoryLimit = 256 << 20
	// A Go process has 75 MiB of data segment before it does anything; with
	// less than this it does not live long enough to say what is wrong.
	leastMemoryLimit = 128 << 20
)

func (s *Spec) memoryLimit() int64 {
	if s.MemoryLimit == 0 {
		return defaultMemoryLimit
	}
	return s.MemoryLimit
}

// sameProcess tells that a running process of s can serve o too.
func (s *Spec) sameProcess(o *Spec) bool {
	return s.Builtin == o.Builtin && s.Path == o.Path && s.SHA256 == o.SHA256 && s.memoryLimit() == o.memoryLimit() &&
		slices.Equal(s.Args, o.Args) && maps.Equal(s.Env, o.Env)
}

func (s *Spec) equal(o *Spec) bool {
	return s.sameProcess(o) && slices.Equal(s.Grants, o.Grants) &&
		slices.Equal(s.instances(), o.instances()) && sameSchedules(s.Probes, o.Probes)
}

func sameSchedules(a, b []ProbeSpec) bool {
	return slices.EqualFunc(a, b, func(x, y ProbeSpec) bool {
		return x.Interval == y.Interval && x.Timeout == y.Timeout
	})
}

// instance is a probe or reporter as Configure sees it.
type instance struct {
	section    string // "probes" or "reporters", for error texts
	name, kind string
	config     string
}

func (s *Spec) instances() []instance {
	list := make([]instance, 0, len(s.Probes)+len(s.Reporters))
	for _, p := range s.Probes {
		list = append(list, instance{"probes", p.Name, p.Kind, string(p.Config)})
	}
	for _, r := range s.Reporters {
		list = append(list, instance{"reporters", r.Name, r.Kind, string(r.Config)})
	}
	return list
}

// ConfigError is one refused setting.
type ConfigError struct {
	// Path of the setting, "probes.https.config.timeout".
	Path    string
	Message string
}

// Error is "path: message".
func (e ConfigError) Error() string { return e.Path + ": " + e.Message }

// ConfigErrors are all settings that Apply refused.
type ConfigErrors []ConfigError

// Error lists them, one a line.
func (l ConfigErrors) Error() string {
	text := ""
	for i, e := range l {
		if i > 0 {
			text += "\n"
		}
		text += e.Error()
	}
	return text
}

func (l *ConfigErrors) add(path, format string, args ...any) {
	*l = append(*l, ConfigError{path, fmt.Sprintf(format, args...)})
}

// validate finds what is wrong in specs without starting anything.
func validate(specs []Spec) ConfigErrors {
	var bad ConfigErrors
	names := make(map[string]bool)
	owner := make(map[string]string)
	for i := range specs {
		s := &specs[i]
		if s.Name == "" {
			bad.add("plugins", "a plugin has no name")
		}
		if names[s.Name] {
			bad.add("plugins."+s.Name, "is there twice; names of plugins are unique")
		}
		names[s.Name] = true
		s.validate(&bad)
		claim(owner, s, &bad)
	}
	return bad
}

func (s *Spec) validate(bad *ConfigErrors) {
	path := "plugins." + s.Name
	if sum, err := hex.DecodeString(s.SHA256); !s.Builtin && (err != nil || len(sum) != 32) {
		bad.add(path+".sha256", "is %.70q; want the SHA-256 of the executable, 64 hexadecimal digits", s.SHA256)
	}
	if !s.Builtin && s.Path == "" {
		bad.add(path+".command", "is empty; want the path of the executable")
	}
	if s.MemoryLimit > 0 && s.MemoryLimit < leastMemoryLimit {
		bad.add(path+".memory_limit", "is %d bytes; want at least %d", s.MemoryLimit, leastMemoryLimit)
	}
}

// instanceName is what the SDK takes for the name of an instance.
var instanceName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// claim takes the names of a plugin's instances. A name is unique among all
// probes, among all reporters, and within its process, where jobs and batches
// find their instance by name alone.
func claim(owner map[string]string, s *Spec, bad *ConfigErrors) {
	local := make(map[string]string)
	for _, in := range s.instances() {
		path := in.section + "." + in.name
		if other, taken := owner[path]; taken {
			bad.add(path, "is configured twice, for plugins %q and %q; names of %s are unique", other, s.Name, in.section)
			continue
		}
		if section, taken := local[in.name]; taken {
			bad.add(path, "plugin %q already has %s.%s; names are unique within a plugin", s.Name, section, in.name)
		}
		if !instanceName.MatchString(in.name) {
			bad.add(path, "want a letter, then letters, digits, hyphens and underscores, all lower case, 63 at most")
		}
		owner[path], local[in.name] = s.Name, in.section
		if len(in.config) > 0 && !json.Valid([]byte(in.config)) {
			bad.add(path+".config", "is not JSON")
		}
	}
}
