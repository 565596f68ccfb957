package arrows

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var (
	pathName = regexp.MustCompile(`\b(?:builtin|cmd|core|plugins|scripts|sdk|web)/[\w-][\w./-]*`)
	goName   = regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)`)
)

// TestPage holds ARCHITECTURE.md to the code: what it names is there, and every
// package that has a rule of its own is named.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, name := range pathName.FindAllString(page, -1) {
		if _, err := os.Stat(filepath.Join(root, strings.TrimRight(name, "."))); err != nil {
			t.Errorf("ARCHITECTURE.md names %s: %v", name, err)
		}
	}
	for rule := range may {
		if rule != "" && !strings.Contains(page, "`"+rule) {
			t.Errorf("ARCHITECTURE.md does not name package %s", rule)
		}
	}
	dirs := packages(t)
	for _, m := range goName.FindAllStringSubmatch(page, -1) {
		if dir, ok := dirs[m[1]]; !ok || !declares(t, dir, m[2]) {
			t.Errorf("ARCHITECTURE.md names %s: no such thing", m[0])
		}
	}
}

// packages is where each package is, by its name.
func packages(t *testing.T) map[string]string {
	t.Helper()
	ps, err := list()
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{}
	for _, p := range ps {
		dir := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		dirs[filepath.Base(dir)] = dir
	}
	return dirs
}

func declares(t *testing.T, dir, name string) (found bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch d := n.(type) {
			case *ast.FuncDecl:
				found = found || d.Name.Name == name
				return false
			case *ast.TypeSpec:
				found = found || d.Name.Name == name
				return false
			}
			return true
		})
	}
	return found
}
