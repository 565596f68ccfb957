package arrows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/seahow-uk/nodeprobe"

// pkg is what the go tool says of a package; test files do not count.
type pkg struct {
	ImportPath string
	Imports    []string
}

// may says what of ours the packages below a path may import, by prefix; the
// longest path counts. "" is main. A package may always import its own prefix.
var may = map[string][]string{
	"":        {"cmd"},
	"cmd":     {"builtin", "core", "plugins", "sdk", "web"},
	"builtin": {"sdk"},
	"plugins": {"sdk", "core="},

	"core":            {},
	"core/wire":       {"core="},
	"core/config":     {"core=", "core/wire="},
	"core/identity":   {"core=", "core/wire="},
	"core/membership": {"core=", "core/wire="},
	"core/store":      {"core=", "core/wire="},
	"core/delivery":   {"core=", "core/wire="},

	"sdk":     {},
	"web":     {"core=", "core/wire="},
	"scripts": {"builtin", "core", "plugins", "sdk", "web"},
}

// only says which packages may import a module from outside.
var only = map[string][]string{
	"github.com/uptrace/bun":          {"core/store"},
	"modernc.org/sqlite":              {"core/store"},
	"modernc.org/libc":                {"core/store"},
	"github.com/jackc/pgx":            {"core/store"},
	"google.golang.org/protobuf":      {"sdk", "plugins"},
	"google.golang.org/grpc":          {"sdk", "plugins"},
	module + "/sdk/proto":             {"sdk", "plugins"},
	"github.com/hashicorp/go-plugin":  {"sdk", "plugins"},
	"github.com/google/jsonschema-go": {"sdk", "plugins"},
	"github.com/spf13/cobra":          {"cmd"},
	"github.com/prometheus":           {"web"},
	"go.yaml.in/yaml":                 {"core/config"},
	"github.com/hashicorp/go-hclog":   {"builtin", "cmd", "core", "plugins", "scripts", "sdk", "web"},
	module + "/cmd":                   {""},
}

func TestArrows(t *testing.T) {
	ps, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) < 10 {
		t.Fatalf("got %d packages, want the whole module", len(ps))
	}
	for _, p := range ps {
		for _, wrong := range violations(p) {
			t.Error(wrong)
		}
	}
}

func TestViolations(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"", "cmd", true},
		{"", "core", false},
		{"cmd", "core/store", true},
		{"core", "core/wire", false},
		{"core/store", "core", true},
		{"core/store", "core/store/migrations", true},
		{"core/store", "core/membership", false},
		{"web", "core/wire", true},
		{"web", "core/store", false},
		{"web", "plugins", false},
		{"plugins", "core", true},
		{"plugins", "core/wire", false},
		{"plugins/internal/testplugin", "sdk", true},
		{"builtin/https", "sdk", true},
		{"builtin/https", "core", false},
		{"builtin/https", "sdk/proto/v1", false},
		{"builtin", "builtin/https", true},
		{"sdk", "core", false},
		{"sdk/examples/dns", "sdk", true},
		{"core/membership", "sdk", false},
		{"core/store", "!github.com/uptrace/bun/dialect/sqlitedialect", true},
		{"core", "!github.com/uptrace/bun", false},
		{"web", "!google.golang.org/protobuf/proto", false},
		{"web", "!net/http", true},
	} {
		to, outside := strings.CutPrefix(c.to, "!")
		if !outside {
			to = path.Join(module, c.to)
		}
		wrong := violations(pkg{path.Join(module, c.from), []string{to}})
		if (len(wrong) == 0) != c.ok {
			t.Errorf("%q imports %q: got %v, want ok = %v", c.from, c.to, wrong, c.ok)
		}
	}
}

// violations tells what p imports and may not.
func violations(p pkg) (wrong []string) {
	from := strings.Trim(strings.TrimPrefix(p.ImportPath, module), "/")
	rule := longest(from)
	for _, to := range p.Imports {
		if ours, ok := strings.CutPrefix(to, module+"/"); ok && !allowed(ours, rule) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s; it may import %v of ours", p.ImportPath, ours, may[rule]))
		}
		for outside, who := range only {
			if below(to, outside) && !slices.ContainsFunc(who, func(w string) bool { return from == w || w != "" && below(from, w) }) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s; only %v may", p.ImportPath, to, who))
			}
		}
	}
	return wrong
}

// longest is the rule for a package.
func longest(from string) string {
	best := ""
	for rule := range may {
		if rule != "" && below(from, rule) && len(rule) > len(best) {
			best = rule
		}
	}
	return best
}

// allowed tells that a rule lets ours be imported; "x=" is x without what is below it.
func allowed(ours, rule string) bool {
	if rule != "" && below(ours, rule) && longest(ours) == rule {
		return true
	}
	return slices.ContainsFunc(may[rule], func(a string) bool {
		exact, ok := strings.CutSuffix(a, "=")
		return ok && ours == exact || !ok && below(ours, a)
	})
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// list asks the go tool for all packages of the module, whose root is two up.
func list() (ps []pkg, err error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = path.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return nil, err
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return ps, nil
		case err != nil:
			return nil, err
		}
		ps = append(ps, p)
	}
}
