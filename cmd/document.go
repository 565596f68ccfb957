package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// field of a JSON object, in the order of the text: a document's author has put
// first what matters.
type field struct {
	name  string
	value any // string, json.Number, bool, nil, []any or []field
}

// documentRows shows a document: a row a field, and a row each entry of a list of
// objects.
func documentRows(w io.Writer, name string, body []byte) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := ordered(d)
	fields, ok := v.([]field)
	if err != nil || !ok {
		row(w, name, string(body))
		return
	}
	for _, f := range fields {
		list, _ := f.value.([]any)
		at := name + "." + f.name
		if len(list) == 0 {
			row(w, at, inline(f.name, f.value))
			continue
		}
		for _, one := range list {
			row(w, at, inline(f.name, one))
			at = ""
		}
	}
}

// ordered reads the next value.
func ordered(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		fields := []field{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			fields = append(fields, field{name.(string), v})
		}
		_, err = d.Token()
		return fields, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	default:
		return t, nil
	}
}

// inline is a value in one line.
func inline(name string, v any) string {
	switch v := v.(type) {
	case []field:
		var parts []string
		for _, f := range v {
			parts = append(parts, strings.TrimSuffix(f.name, "_us")+" "+inline(f.name, f.value))
		}
		return strings.Join(parts, ", ")
	case []any:
		var parts []string
		for _, one := range v {
			parts = append(parts, inline(name, one))
		}
		if len(parts) == 0 {
			return "none"
		}
		return strings.Join(parts, "; ")
	case json.Number:
		if us, err := v.Int64(); err == nil && strings.HasSuffix(name, "_us") {
			return (time.Duration(us) * time.Microsecond).String()
		}
		return v.String()
	default:
		return fmt.Sprint(v) // a string, a bool or null
	}
}

// figure is a metric's value for people, by the unit that its name ends in.
func figure(name string, v float64) string {
	switch {
	case strings.HasSuffix(name, "_timestamp_seconds"):
		return time.Unix(int64(v), 0).UTC().Format(time.RFC3339)
	case strings.HasSuffix(name, "_seconds"):
		return time.Duration(v * float64(time.Second)).Round(time.Microsecond).String()
	default:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
}
