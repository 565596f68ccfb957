package cmd

import (
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"github.com/seahow-uk/nodeprobe/builtin"
	"github.com/seahow-uk/nodeprobe/core/config"
)

// settings are the flags that override the environment and the files.
type settings struct {
	flags *pflag.FlagSet
}

// register defines the flags of the configuration. Their values are read by
// name from the flag set, since only those that were given override anything.
func (s *settings) register(fs *pflag.FlagSet) {
	s.flags = fs
	for _, f := range config.Flags() {
		if !f.Secret {
			fs.String(f.Name, "", f.Usage)
		}
	}
}

// load reads the effective configuration. Its error names every mistake.
func (s *settings) load() (*config.Config, error) { return s.judged(unserved) }

// judged is load with another judge of the whole.
func (s *settings) judged(judge func(*config.Config) config.Errors) (*config.Config, error) {
	src := s.source()
	src.Builtin, src.Judge = slices.Sorted(maps.Keys(builtin.All())), judge
	return config.Load(src)
}

func (s *settings) source() config.Source {
	given := map[string]string{}
	s.flags.VisitAll(func(f *pflag.Flag) { // cobra parses into a set of its own; the flags are shared
		if f.Changed {
			given[f.Name] = f.Value.String()
		}
	})
	return config.FromOS(given)
}
