package core

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// TestEveryKindOfCoreIsCores: a probe that may report one could end what the node
// tells of itself.
func TestEveryKindOfCoreIsCores(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	ast.Inspect(parsed, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		kind, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil || !EventKind(kind).Core() {
			t.Errorf("%s: %q is not core's own, %v", v.Names[0].Name, kind, err)
		}
		kinds++
		return true
	})
	if kinds < 11 {
		t.Errorf("got %d kinds, want all", kinds)
	}
}
