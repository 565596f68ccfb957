package web

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/core"
)

// example is a path that a route's pattern matches.
func (rt route) example() (method, path string) {
	method, path, _ = strings.Cut(rt.pattern, " ")
	path = strings.ReplaceAll(path, "{$}", "")
	path = strings.ReplaceAll(path, "{id}", nodeID(1).String())
	return method, strings.NewReplacer("{name}", "app.mjs").Replace(path)
}

func TestEveryRouteIsDocumented(t *testing.T) {
	text, err := os.ReadFile("API.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(&fakes{}, nil)
	known := map[string]bool{}
	for _, rt := range append(s.routes(), s.adminRoutes()...) {
		pattern := strings.ReplaceAll(rt.pattern, "{$}", "")
		known[pattern] = true
		if !strings.Contains(string(text), "### "+pattern+"\n") {
			t.Errorf("API.md has no section %q", "### "+pattern)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### ([A-Z]+ /.*)$`).FindAllStringSubmatch(string(text), -1) {
		if !known[m[1]] {
			t.Errorf("API.md describes %q, which is not there", m[1])
		}
	}
}

func TestEveryRouteRefusesOtherMethods(t *testing.T) {
	s := newServer(twoNodes(testSelf.ID), &core.Hub{})
	for _, rt := range s.routes() {
		right, path := rt.example()
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO"} {
			if method == right {
				continue
			}
			a := serve(s.Handler(), "127.0.0.1:1", method, path, "")
			if a.status != http.StatusMethodNotAllowed || !strings.Contains(a.header.Get("Allow"), right) {
				t.Errorf("%s %s: got %d, Allow %q, want 405 with %s", method, path, a.status, a.header.Get("Allow"), right)
			}
		}
	}
}

func TestUnknownPaths(t *testing.T) {
	s := newServer(&fakes{}, &core.Hub{})
	for _, path := range []string{"/x", "/nodeinfo/x", "/api", "/api/v1", "/api/v1/x", "/assets/", "/assets/x.mjs", "/assets/..%2fAPI.md", "/metrics/"} {
		if a := serve(s.Handler(), "127.0.0.1:1", "GET", path, ""); a.status != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, a.status)
		}
	}
	a := serve(s.Handler(), "127.0.0.1:1", "GET", "/", "")
	if a.status != http.StatusFound || a.header.Get("Location") != "/dashboard" {
		t.Errorf("/: got %d to %q, want 302 to /dashboard", a.status, a.header.Get("Location"))
	}
}

// TestRefusalsOfTheAPIAreJSON: also those that no handler of ours makes.
func TestRefusalsOfTheAPIAreJSON(t *testing.T) {
	s := newServer(twoNodes(testSelf.ID), &core.Hub{})
	for _, tt := range []struct {
		method, path, allow, origin string
		status                      int
	}{
		{"GET", "/api/v1/nosuch", "", "", http.StatusNotFound},
		{"GET", "/api/v1", "", "", http.StatusNotFound},
		{"POST", "/api/v1/nodes", "GET, HEAD", "", http.StatusMethodNotAllowed},
		{"FOO", "/api/v1/goodbye", "POST", "", http.StatusMethodNotAllowed},
		{"POST", "/api/v1/goodbye", "", "https://evil.example.com", http.StatusForbidden},
	} {
		for name, h := range map[string]http.Handler{"port": s.Handler(), "socket": s.AdminHandler()} {
			a := serve(h, "127.0.0.1:1", tt.method, tt.path, "", "Origin", tt.origin)
			if a.header.Get("Content-Type") != "application/json" || a.status != tt.status || a.header.Get("Allow") != tt.allow {
				t.Errorf("%s of the %s %s: got %d %s, Allow %q: %s", tt.method, name, tt.path, a.status, a.header.Get("Content-Type"), a.header.Get("Allow"), a.body)
				continue
			}
			if got := decode[failure](t, a); got.Error == "" || !strings.Contains(got.Error, tt.allow) {
				t.Errorf("%s %s: got %q, want a sentence", tt.method, tt.path, got.Error)
			}
		}
	}
	if a := serve(s.Handler(), "127.0.0.1:1", "GET", "/api//v1/nodes", ""); a.header.Get("Location") != "/api/v1/nodes" {
		t.Errorf("a path that is not clean: got %d, want the way to the clean one", a.status)
	}
}

// TestAdminThingsAreNotOnThePort: they are unknown or refused there.
func TestAdminThingsAreNotOnThePort(t *testing.T) {
	f := twoNodes(testSelf.ID)
	s := newServer(f, &core.Hub{})
	for _, rt := range s.adminRoutes() {
		method, path := rt.example()
		a := serve(s.Handler(), "127.0.0.1:1", method, path, `{"probe":"https","host":"192.0.2.1"}`)
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s: got %d, want 404 or 405", method, path, a.status)
		}
	}
	if len(f.forgot)+len(f.enabled)+len(f.targets) > 0 {
		t.Error("something was changed")
	}
}

func TestHostsOfBrowsers(t *testing.T) {
	s := newServer(twoNodes(testSelf.ID), &core.Hub{})
	for host, allowed := range map[string]bool{
		"self.example.net": true, "SELF.example.net.:8443": true, "allowed.example.net:8443": true,
		"localhost:8443": true, "127.0.0.1": true, "192.0.2.200:9000": true, "[2001:db8::1]:8443": true, "[::1]": true,
		"evil.example.com": false, "evil.example.com:8443": false, "self.example.net.evil.example.com": false,
		"localhost.evil.example.com": false, "127.0.0.1.evil.example.com": false, "": false, ":8443": false, "0x7f000001": false,
	} {
		for _, rt := range s.routes() {
			method, path := rt.example()
			if rt.pattern == "GET /api/v1/stream" || rt.browser && method != "GET" {
				continue
			}
			a := serve(s.Handler(), "127.0.0.1:1", method, path, "", "Host", host)
			refused := a.status == http.StatusMisdirectedRequest
			if want := rt.browser && !allowed; refused != want {
				t.Errorf("%s with host %q: got %d, want a refusal: %t", path, host, a.status, want)
			}
		}
	}
}

func TestCrossSiteRequestsChangeNothing(t *testing.T) {
	f := twoNodes(testSelf.ID)
	s := newServer(f, &core.Hub{})
	for _, tt := range []struct {
		headers []string
		want    int
	}{
		{[]string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{[]string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{[]string{"Origin", "https://evil.example.com"}, http.StatusForbidden},
		{[]string{"Origin", "null"}, http.StatusForbidden},
		{[]string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		{[]string{"Origin", "https://self.example.net"}, http.StatusOK},
		{nil, http.StatusOK}, // a node, not a browser
	} {
		before := len(f.reports)
		a := serve(s.Handler(), "127.0.0.1:1", "POST", "/report", original, tt.headers...)
		if a.status != tt.want || len(f.reports)-before != btoi(tt.want == http.StatusOK) {
			t.Errorf("%q: got %d, %d stored, want %d", tt.headers, a.status, len(f.reports)-before, tt.want)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	s := newServer(twoNodes(testSelf.ID), &core.Hub{})
	paths := []string{"/x"}
	for _, rt := range s.routes() {
		if _, path := rt.example(); path != "/api/v1/stream" {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		a := serve(s.Handler(), "127.0.0.1:1", "GET", path, "", "Origin", "https://evil.example.com")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s: got %q, want %q", path, name, got, want)
			}
		}
		policy := a.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	page := serve(s.Handler(), "127.0.0.1:1", "GET", "/dashboard", "")
	if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "require-trusted-types-for 'script'") {
		t.Errorf("dashboard: policy %q", policy)
	}
	if regexp.MustCompile(`<script>|\bon\w+=|style=|https?://`).MatchString(page.body) {
		t.Error("dashboard: something inline or external in the page")
	}
}

func TestAssetsAreKeptByTheBrowser(t *testing.T) {
	s := newServer(&fakes{}, &core.Hub{})
	for path, kind := range map[string]string{"/dashboard": "text/html", "/assets/app.mjs": "text/javascript", "/assets/style.css": "text/css"} {
		a := serve(s.Handler(), "127.0.0.1:1", "GET", path, "")
		if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), kind) {
			t.Errorf("%s: got %d %s", path, a.status, a.header.Get("Content-Type"))
		}
		b := serve(s.Handler(), "127.0.0.1:1", "GET", path, "", "If-None-Match", a.header.Get("ETag"))
		if b.status != http.StatusNotModified || b.body != "" {
			t.Errorf("%s again: got %d with %d bytes, want 304", path, b.status, len(b.body))
		}
	}
}

func TestPanicIsOneFailedRequest(t *testing.T) {
	s := newServer(&fakes{}, &core.Hub{})
	h := s.secure(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") }))
	if a := serve(h, "127.0.0.1:1", "GET", "/", ""); a.status != http.StatusInternalServerError || strings.Contains(a.body, "bug") {
		t.Errorf("got %d %s, want 500 without the cause", a.status, a.body)
	}
}
