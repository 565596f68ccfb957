package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// params reads the query parameters of a request and keeps the first error.
type params struct {
	values url.Values
	wrong  string // the parameter's name; empty: all is well so far
	why    string
}

// query takes the parameters in names; others, and repeated ones, are refused:
// a misspelt filter must not look like an answer.
func query(r *http.Request, names ...string) *params {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return &params{wrong: "query", why: "the query string cannot be parsed"}
	}
	p := &params{values: values}
	for name, v := range values {
		switch {
		case !slices.Contains(names, name):
			p.fail(core.CleanText(name, 64), "there is no such parameter here; there is %s", listed(names))
		case len(v) > 1:
			p.fail(name, "is given more than once")
		}
	}
	return p
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (p *params) fail(name, format string, args ...any) {
	if p.wrong == "" {
		p.wrong, p.why = name, fmt.Sprintf(format, args...)
	}
}

// refused answers 400 when a parameter is wrong.
func (p *params) refused(w http.ResponseWriter) bool {
	if p.wrong == "" {
		return false
	}
	writeJSON(w, http.StatusBadRequest, failure{Error: p.wrong + ": " + p.why, Parameter: p.wrong})
	return true
}

// word is a name of at most 63 bytes, or def when it is not given.
func (p *params) word(name, def string) string {
	v, given := p.get(name)
	if !given {
		return def
	}
	if !isName(v) {
		p.fail(name, "want 1 to 63 of a-z 0-9 _ -")
		return def
	}
	return v
}

// metric is the name of a metric, or def when it is not given.
func (p *params) metric(name, def string) string {
	v, given := p.get(name)
	if !given {
		return def
	}
	if len(v) > 64 || !isName(strings.ReplaceAll(v[:min(len(v), 63)], ".", "_")) {
		p.fail(name, "want 1 to 64 of a-z 0-9 _ - .")
		return def
	}
	return v
}

func isName(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// text is any text of at most limit bytes.
func (p *params) text(name string, limit int) string {
	v, _ := p.get(name)
	if len(v) > limit {
		p.fail(name, "want at most %d bytes", limit)
		return ""
	}
	return v
}

// time is RFC 3339 between 1970 and 2200, or def.
func (p *params) time(name string, def time.Time) time.Time {
	v, given := p.get(name)
	if !given {
		return def
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil || t.Unix() < 0 || t.UTC().Year() >= 2200 {
		p.fail(name, "want a time such as 2026-01-31T12:00:00Z")
		return def
	}
	return t.UTC()
}

// window is the time from "from" to "to"; by default the last of a length.
func (p *params) window(now time.Time, length time.Duration) (from, to time.Time) {
	to = p.time("to", now)
	from = p.time("from", to.Add(-length))
	switch span := to.Sub(from); {
	case span <= 0:
		p.fail("from", "want a time before to")
	case span > maxSpan:
		p.fail("from", "want at most %d days before to", int(maxSpan.Hours()/24))
	}
	return from, to
}

// duration is as Go writes it, from low to high, or def.
func (p *params) duration(name string, def, low, high time.Duration) time.Duration {
	v, given := p.get(name)
	if !given {
		return def
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < low || d > high {
		p.fail(name, "want a duration such as 90s or 5m, from %s to %s", low, high)
		return def
	}
	return d
}

// number is from low to high, or def.
func (p *params) number(name string, def, low, high int) int {
	v, given := p.get(name)
	if !given {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		p.fail(name, "want a number from %d to %d", low, high)
		return def
	}
	return n
}

// flag is true or false; false when it is not given.
func (p *params) flag(name string) bool {
	v, given := p.get(name)
	if given && v != "true" && v != "false" {
		p.fail(name, "want true or false")
	}
	return v == "true"
}

func (p *params) get(name string) (value string, given bool) {
	v, given := p.values[name]
	if !given || len(v) == 0 {
		return "", false
	}
	return v[0], true
}

// unknownName is a name in the query that nothing has.
type unknownName struct{ parameter, why string }

func (u unknownName) Error() string { return u.parameter + ": " + u.why }

// knownProbe fails when no probe has that name: to be asked when an answer is
// empty, as what a probe has left is there without it. Others are names found
// beside those of the configuration.
func (s *Server) knownProbe(name string, others ...string) error {
	known := slices.Clone(others)
	for _, p := range s.plugins.Probes() {
		known = append(known, p.Name)
	}
	if name == "" || slices.Contains(known, name) {
		return nil
	}
	slices.Sort(known)
	return unknownName{"probe", fmt.Sprintf("there is no probe %s, and nothing that it has measured; there is %s", name, listed(slices.Compact(known)))}
}

// pathID reads the node id in the path and answers 400 when it is none.
func pathID(w http.ResponseWriter, r *http.Request) (core.NodeID, bool) {
	id, err := core.ParseNodeID(r.PathValue("id"))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure{Error: "id: want a UUID", Parameter: "id"})
		return core.NodeID{}, false
	}
	return id, true
}
