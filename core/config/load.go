package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"
)

// The files that are looked for.
const (
	settingsFile  = "nodeprobe.yaml"
	seedFile      = "seed.json"
	reportingFile = "reportingserver.json"
)

// Load reads all sources and returns a valid configuration, or Errors with
// everything that is wrong.
func Load(src Source) (*Config, error) {
	l := newLoader(src)
	l.seeds()
	l.reporting()
	l.judge()
	if err := l.errs.err(); err != nil {
		return nil, err
	}
	return l.c, nil
}

// DataDir is the data directory of the configuration, also while something else
// in the files is wrong: a node that runs goes on then, and is asked how it is.
// The error is Errors with what hides the directory.
func DataDir(src Source) (string, error) {
	l := newLoader(src)
	given := l.c.origins["data_dir"].setting != ""
	hiding := slices.DeleteFunc(l.errs, func(e Error) bool {
		return e.File != "" && (given || e.Path != "" && e.Path != "data_dir")
	})
	return l.c.DataDir, hiding.err()
}

// loader is the state of one Load.
type loader struct {
	src  Source
	c    *Config
	errs Errors
}

// newLoader has read the settings: nodeprobe.yaml, the environment and the flags.
func newLoader(src Source) *loader {
	if src.Getenv == nil {
		src.Getenv = os.Getenv
	}
	if src.exists == nil {
		src.exists = isDir
	}
	l := &loader{src: src, c: Default(), errs: src.unknownVariables()}
	l.c.origins = map[string]origin{}
	l.nodeEnv()
	l.settings()
	l.override()
	l.complete()
	return l
}

// nodeEnv moves the defaults of logging: NODE_ENV=development is text at
// debug, production is JSON at info; other values are not ours to judge.
func (l *loader) nodeEnv() {
	switch l.src.Getenv("NODE_ENV") {
	case "development":
		l.c.LogLevel, l.c.LogFormat = "debug", "text"
	case "production":
		l.c.LogLevel, l.c.LogFormat = "info", "json"
	}
}

// settings finds and reads nodeprobe.yaml. A file or directory that was asked
// for by a flag must be there.
func (l *loader) settings() {
	dir, from, given := l.src.named("config-dir")
	if !given {
		dir = l.src.defaultConfig()
	}
	l.c.ConfigDir = l.absolute(dir, from)
	if strings.HasPrefix(from, "--") && !l.src.exists(l.c.ConfigDir) {
		l.fail(from, "%q is not a directory", dir)
	}
	file, from, given := l.src.named("config")
	if !given {
		file = filepath.Join(l.c.ConfigDir, settingsFile)
	}
	file = l.absolute(file, from)
	data, err := l.read(file)
	if err == nil && data == nil && given {
		l.fail(from, "%q does not exist", file)
	}
	if data == nil || err != nil {
		return
	}
	n, err := parseYAML(data)
	d := newDecoder(file)
	l.decode(d, n, err, d.config(l.c))
	l.c.origins = d.origins
}

// override lets the environment and the flags win over the file.
func (l *loader) override() {
	for _, f := range Flags() {
		value, from, ok := l.src.lookup(f)
		if !ok || f.set == nil {
			continue
		}
		l.c.origins[f.path] = origin{setting: from}
		if err := f.set(l.c, value); err != nil {
			l.fail(from, "%v", err)
		}
	}
}

// complete fills in the directories that nobody has set, and brings the name
// into the form that is compared and sent.
func (l *loader) complete() {
	if name, err := hostName(l.c.NodeName); err == nil {
		l.c.NodeName = name
	}
	if l.c.DataDir == "" {
		l.c.DataDir = l.src.defaultData()
	}
	if l.c.CertDir == "" {
		l.c.CertDir = l.src.below(containerCerts, l.c.DataDir, "certs")
	}
	if l.c.Plugins.Directory == "" {
		l.c.Plugins.Directory = l.src.below(containerPlugins, l.c.DataDir, "plugins")
	}
}

// judge validates the whole and tells where the wrong values were read.
func (l *loader) judge() {
	found := l.c.validate()
	if l.src.Builtin != nil {
		found = append(found, l.c.unknownPlugins(l.src.Builtin)...)
	}
	if l.src.Judge != nil {
		found = append(found, l.src.Judge(l.c)...)
	}
	for _, e := range found {
		l.errs = append(l.errs, l.c.ErrorAt(e.Path, e.Message))
	}
}

// ErrorAt says what is wrong with the value at path, and where it was read.
func (c *Config) ErrorAt(path, message string) Error {
	return c.originOf(path).error(path, message)
}

// originOf is where path was read, or else what it is in.
func (c *Config) originOf(path string) origin {
	for at := path; at != ""; {
		if o, ok := c.origins[at]; ok {
			return o
		}
		cut := strings.LastIndexAny(at, ".[")
		at = at[:max(cut, 0)]
	}
	return origin{}
}

// read is what is in a file to be watched from now on; nil without an error
// when there is no such file. Errors are noted.
func (l *loader) read(file string) ([]byte, error) {
	l.c.watched = append(l.c.watched, file)
	data, err := readLimited(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // a data directory that is none is told by its user
		return nil, nil
	case err != nil:
		l.errs = append(l.errs, Error{File: file, Message: err.Error()})
		return nil, err
	}
	l.c.sources = append(l.c.sources, file)
	return data, nil
}

// decode runs a reader over a parsed file and notes what is wrong.
func (l *loader) decode(d *decoder, n *yaml.Node, err error, read reader) {
	var at *lineError
	if errors.As(err, &at) {
		d.errs = append(d.errs, Error{File: d.file, Line: at.line, Message: at.msg})
	} else if n != nil {
		read(n, "")
	}
	l.errs = append(l.errs, d.errs...)
}

func (l *loader) absolute(name, from string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		l.fail(from, "%v", err)
		return name
	}
	return abs
}

func (l *loader) fail(setting, format string, args ...any) {
	l.errs = append(l.errs, Error{Path: setting, Message: fmt.Sprintf(format, args...)})
}

// readLimited reads a file of at most maxFile bytes; never nil without an error.
// A pipe or a device is none: opening it must not wait for somebody to write.
func readLimited(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, plain(err)
	case info.IsDir():
		return nil, errors.New("is a directory; want a file")
	case !info.Mode().IsRegular():
		return nil, errors.New("is a pipe or a device; want a file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, plain(err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("larger than %s", formatSize(maxFile))
	}
	return data, nil
}

// plain takes the name of the file out of an error: the message has it already.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
