package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
)

// files are the dashboard. They are served as they are: no build, nothing from
// elsewhere.
//
//go:embed dashboard
var files embed.FS

// Content security policies: of the dashboard, and of everything else.
const (
	policyPage = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
	policyData = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// page is a file of the dashboard.
type page struct {
	contentType, tag string
	body             []byte
}

type pages map[string]page

// loadPages reads the embedded files; the system's table of types is not asked,
// it may not know modules.
func loadPages() pages {
	types := map[string]string{
		".html": "text/html; charset=utf-8",
		".mjs":  "text/javascript; charset=utf-8",
		".css":  "text/css; charset=utf-8",
		".svg":  "image/svg+xml",
	}
	out := pages{}
	entries, err := files.ReadDir("dashboard")
	for _, e := range entries {
		var body []byte
		if body, err = files.ReadFile("dashboard/" + e.Name()); err != nil {
			break
		}
		sum := sha256.Sum256(body)
		out[e.Name()] = page{types[path.Ext(e.Name())], `"` + hex.EncodeToString(sum[:8]) + `"`, body}
	}
	if err != nil {
		panic("web: embedded files: " + err.Error()) // they are part of the binary
	}
	return out
}

// dashboard answers GET /dashboard.
func (s *Server) dashboard(w http.ResponseWriter, r *http.Request, _ caller) {
	h := w.Header()
	h.Set("Content-Security-Policy", policyPage)
	h.Set("Cross-Origin-Embedder-Policy", "require-corp")
	s.pages["index.html"].serve(w, r)
}

// asset answers GET /assets/{name}.
func (s *Server) asset(w http.ResponseWriter, r *http.Request, _ caller) {
	p, ok := s.pages[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	p.serve(w, r)
}

// serve lets browsers keep the file but ask each time: the next version of the
// binary may bring another one.
func (p page) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", p.tag)
	w.Header().Set("Cache-Control", "no-cache")
	if tagMatches(r.Header.Get("If-None-Match"), p.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	writeBody(w, http.StatusOK, p.contentType, p.body)
}
