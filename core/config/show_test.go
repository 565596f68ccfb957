package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestShowLoadsAgain(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		settingsFile: annotatedBoth(t), seedFile: `{"nodes":[{"ip":"10.0.0.1","port":8443}]}`, reportingFile: `{"server_fqdn":"r"}`,
	} {
		write(t, filepath.Join(dir, name), text)
	}
	first, err := loadDir(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := first.Show()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, settingsFile), string(shown))
	second, err := loadDir(t, dir)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, shown)
	}
	env := second.Plugins.Enabled["acme-dns"].Env
	if env["ACME_TOKEN"] != redacted {
		t.Errorf("got %q for the token", env["ACME_TOKEN"].Value())
	}
	env["ACME_TOKEN"] = first.Plugins.Enabled["acme-dns"].Env["ACME_TOKEN"]
	second.watched, second.sources, second.origins = first.watched, first.sources, first.origins
	if !reflect.DeepEqual(first, second) {
		t.Errorf("got  %#v\nwant %#v", second, first)
	}
	for _, want := range []string{fmt.Sprintf("# read: %q", filepath.Join(dir, seedFile)), "# seed:  10.0.0.1 port 8443", "# reporting server: r  port 443"} {
		if !strings.Contains(string(shown), want+"\n") {
			t.Errorf("want %q in:\n%s", want, shown)
		}
	}
}

func annotatedBoth(t *testing.T) string {
	t.Helper()
	return "interval: 20s\n" + strings.Replace(annotated(t, "##"), "storage:\n", "storage:\n  max_size: 64MiB\n  raw: 1d\n", 1)
}

func TestSecretsAreNotSeen(t *testing.T) {
	text := `
probes:
  a: {config: {password: hunter-1, list: [{api_key: hunter-2}], auth_tokens: [hunter-3, {x: hunter-4}], url: "https://u:hunter-5@host/", pin_secret: 12345, ok: visible}}
reporters:
  r: {config: {Authorization: hunter-6}}
plugins:
  enabled:
    p: {sha256: "` + strings.Repeat("ab", 32) + `", env: {ANY: hunter-7}}
storage: {dsn: "postgres://u:hunter-8@visible/db?sslmode=require&sslpassword=hunter-9"}
`
	c, err := loadText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(shown); strings.Contains(got, "hunter") || strings.Contains(got, "12345") || !strings.Contains(got, "visible") {
		t.Errorf("a secret is seen, or too much is hidden:\n%s", got)
	}
	if _, err := loadText(t, string(shown)); err != nil {
		t.Errorf("does not load again: %v", err)
	}
	p := c.Plugins.Enabled["p"]
	asJSON, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%v %+v %#v %s %q %s %+v", p, p, p, p.Env["ANY"], p.Env["ANY"], asJSON, c.Storage); strings.Contains(all, "hunter") {
		t.Errorf("a secret prints: %s", all)
	}
	if !strings.Contains(string(c.Probes["a"].Config), "hunter-1") {
		t.Error("redaction has changed the configuration itself")
	}
}

// decodeText decodes and validates one text as Load does, without files.
func decodeText(data []byte) (*Config, error) {
	l := &loader{c: Default()}
	d := newDecoder(filepath.Join(string(filepath.Separator), settingsFile))
	n, err := parseYAML(data)
	l.decode(d, n, err, d.config(l.c))
	l.c.origins = d.origins
	l.judge()
	return l.c, l.errs.err()
}

func FuzzYAML(f *testing.F) {
	seed(f, "testdata/*.yaml")
	f.Add([]byte("probes: {a: {config: {s: '1', n: 1.0, d: '2026-01-01', e: '', y: 'yes', t: \"a\\tb\\n\", u: '😀'}}}"))
	f.Add([]byte("probes: {a: {config: {\"\\t\\n\": \"\\t\\n\"}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeText(data)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Fatal("an error that says nothing")
			}
			return
		}
		shown, err := c.Show()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeText(shown)
		if err != nil {
			t.Fatalf("shown configuration does not load: %v\n%s", err, shown)
		}
		if twice, err := again.Show(); err != nil || string(twice) != string(shown) {
			t.Fatalf("%v, shown again:\n%s\nat first:\n%s", err, twice, shown)
		}
	})
}

func FuzzSeeds(f *testing.F) {
	seed(f, "testdata/*seeds*.json")
	seed(f, "../../configs/seed.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		var seeds []Seed
		if !fuzzJSON(data, func(d *decoder) reader { return d.seeds(&seeds) }) {
			return
		}
		for _, s := range seeds {
			if s.FQDN == "" && s.IP == "" || s.Port == 0 {
				t.Fatalf("got seed %+v", s)
			}
		}
	})
}

func FuzzReportingServer(f *testing.F) {
	seed(f, "testdata/*reporting*.json")
	seed(f, "../../configs/reportingserver.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		var r *ReportingServer
		if fuzzJSON(data, func(d *decoder) reader { return d.reporting(&r) }) && (r == nil || r.FQDN == "" && r.IP == "" || r.Port == 0) {
			t.Fatalf("got %+v", r)
		}
	})
}

// fuzzJSON tells whether the text was taken; what is taken must be JSON.
func fuzzJSON(data []byte, read func(*decoder) reader) bool {
	l := &loader{c: Default()}
	d := newDecoder("x.json")
	d.json = true
	n, err := parseJSON(data)
	l.decode(d, n, err, read(d))
	if len(l.errs) == 0 && !json.Valid(data) && !strings.HasPrefix(string(data), "\ufeff") {
		panic("what is not JSON was taken")
	}
	return len(l.errs) == 0
}

func seed(f *testing.F, pattern string) {
	f.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
}
