package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// maxFile is many times what 2,000 seeds take.
	maxFile = 1 << 20
	// maxDepth is that of the wire's JSON.
	maxDepth = 16
	// maxNodes bounds what aliases can unfold to.
	maxNodes = 100_000
)

// reader takes the value at path into where it belongs.
type reader func(n *yaml.Node, path string)

// fields are the keys of a mapping.
type fields map[string]reader

// decoder walks the nodes of one file, strictly, and collects what is wrong.
type decoder struct {
	file string
	// json: the file is JSON, so null is no way to leave something out.
	json bool
	errs Errors
	// origins tells where each path was read, for judging the whole later.
	origins map[string]origin
	// offered are all paths that were looked for, unknown or not.
	offered map[string]bool
	visited int
}

// origin is where a value comes from: a place in a file, or a flag or variable.
type origin struct {
	file, setting string
	line          int
}

// error says what is wrong with the value at path that has this origin.
func (o origin) error(path, message string) Error {
	if o.setting != "" {
		return Error{Path: o.setting, Message: message}
	}
	return Error{File: o.file, Line: o.line, Path: path, Message: message}
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, origins: map[string]origin{}, offered: map[string]bool{}}
}

func (d *decoder) failf(n *yaml.Node, path, format string, args ...any) {
	e := Error{File: d.file, Path: path, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		e.Line = n.Line
	}
	d.errs = append(d.errs, e)
}

// enter follows an alias and notes where path is. It is nil once aliases
// unfold to too much, which is told once.
func (d *decoder) enter(n *yaml.Node, path string) *yaml.Node {
	d.visited++
	if d.visited == maxNodes {
		d.failf(n, path, "too much: more than %d values", maxNodes)
	}
	if d.visited >= maxNodes {
		return nil
	}
	d.origins[path] = origin{file: d.file, line: n.Line}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// each calls do for the pairs of a mapping; a null is an empty one.
func (d *decoder) each(n *yaml.Node, path string, do func(key, value *yaml.Node, path string)) {
	if n = d.enter(n, path); n == nil || d.isNull(n, path) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.failf(n, path, "want keys and values, got %s", kindOf(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		switch line, dup := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.failf(key, path, "a key must be a word, got %s", kindOf(key))
		case key.ShortTag() == "!!merge":
			d.failf(key, path, "merge keys (<<) are not supported; write the keys out")
		case dup:
			d.failf(key, at, "given twice; first in line %d", line)
		default:
			seen[key.Value] = key.Line
			do(key, value, at)
		}
	}
}

// object reads a mapping that has no other keys than those of f.
func (d *decoder) object(f fields) reader {
	keys := slices.Sorted(maps.Keys(f))
	return func(n *yaml.Node, path string) {
		for _, k := range keys {
			d.offered[join(path, k)] = true
		}
		d.each(n, path, func(key, value *yaml.Node, at string) {
			if read, ok := f[key.Value]; ok {
				read(value, at)
				return
			}
			d.failf(key, at, "%v", wrongWord("unknown key", key.Value, keys))
		})
	}
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// named reads a mapping whose keys are names that the operator chose.
func (d *decoder) named(read func(name string) reader) reader {
	return func(n *yaml.Node, path string) {
		d.each(n, path, func(key, value *yaml.Node, at string) {
			if !namePattern.MatchString(key.Value) {
				d.failf(key, at, "not a name; want a letter, then letters, digits, - and _, all lower case, at most 63")
				return
			}
			read(key.Value)(value, at)
		})
	}
}

// list calls read for each element of a sequence; a null is an empty one.
func (d *decoder) list(read reader) reader {
	return func(n *yaml.Node, path string) {
		if n = d.enter(n, path); n == nil || d.isNull(n, path) {
			return
		}
		if n.Kind != yaml.SequenceNode {
			d.failf(n, path, "want a list, got %s", kindOf(n))
			return
		}
		for i, item := range n.Content {
			read(item, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

// scalar reads a single value, whatever its type looks like, with parse.
func scalar[T any](d *decoder, to *T, parse func(string) (T, error)) reader {
	return func(n *yaml.Node, path string) {
		if n = d.enter(n, path); n == nil {
			return
		}
		if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
			d.failf(n, path, "want one value, got %s", kindOf(n))
			return
		}
		v, err := parse(n.Value)
		if err != nil {
			d.failf(n, path, "%v", err)
			return
		}
		*to = v
	}
}

// typed is scalar for values whose type must be tag, called what.
func typed[T any](d *decoder, tag, what string, to *T, parse func(string) (T, error)) reader {
	read := scalar(d, to, parse)
	return func(n *yaml.Node, path string) {
		v := n
		if n.Kind == yaml.AliasNode {
			v = n.Alias
		}
		if v.Kind == yaml.ScalarNode && v.ShortTag() != tag && v.ShortTag() != "!!null" {
			d.failf(v, path, "want %s, got %s", what, kindOf(v))
			return
		}
		read(n, path)
	}
}

// isNull tells that n is null, which in JSON is an error.
func (d *decoder) isNull(n *yaml.Node, path string) bool {
	null := n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
	if null && d.json {
		d.failf(n, path, "must not be null")
	}
	return null
}

// kindOf names what n is, for messages.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys and values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind != yaml.ScalarNode:
		return "something else"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return fmt.Sprintf("the number %.40s", n.Value)
	case "!!bool":
		return n.Value
	}
	return fmt.Sprintf("the text %.40q", n.Value)
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// join appends a key to a path; odd keys are quoted.
func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = fmt.Sprintf("%.64q", core.CleanText(key, 256))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
