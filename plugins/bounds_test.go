package plugins

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"strings"
	"testing"
)

// source is what two files declare: the values of constants and the bodies of
// functions, as they are written.
func source(t *testing.T, one, two string) map[string]string {
	t.Helper()
	files := token.NewFileSet()
	var decls []ast.Decl
	for _, file := range []string{one, two} {
		parsed, err := parser.ParseFile(files, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		decls = append(decls, parsed.Decls...)
	}
	text := func(n ast.Node) string {
		var b bytes.Buffer
		if err := printer.Fprint(&b, files, n); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	out := map[string]string{}
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			out[d.Name.Name] = text(d.Body)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.CONST && len(v.Values) == 1 {
					out[v.Names[0].Name] = text(v.Values[0])
				}
			}
		}
	}
	return out
}

// TestBoundsAreThoseOfTheSDK: neither side may see the other's constants, and what
// the author's side lets through must not be cut by the host.
func TestBoundsAreThoseOfTheSDK(t *testing.T) {
	author, host := source(t, "../sdk/convert.go", "../sdk/finding.go"), source(t, "convert.go", "findings.go")
	names := map[string]string{"maxName": "maxNameText", "isWord": "isWord"} // what else it is called here
	for _, n := range []string{
		"maxStages", "maxMetrics", "maxAttributes", "maxPeers", "maxViews", "maxViewMetrics", "maxAttribute", "maxShortText",
		"maxFindings", "maxDocuments", "maxDocumentBytes",
	} {
		names[n] = n
	}
	for there, here := range names {
		want := strings.ReplaceAll(author[there], "maxName)", "maxNameText)")
		want = strings.ReplaceAll(want, "maxName ", "maxNameText ")
		if want == "" || host[here] != want {
			t.Errorf("%s: got %s, want %s as sdk has it", here, host[here], want)
		}
	}
}
