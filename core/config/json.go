package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// lineError is an error at a line of the text that was parsed.
type lineError struct {
	line int
	msg  string
}

func (e *lineError) Error() string { return e.msg }

// parseJSON reads exactly one JSON value into the nodes that the decoder walks,
// with their lines. An error is a *lineError.
func parseJSON(data []byte) (*yaml.Node, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, jsonSyntax(data, err)
	}
	r := &jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	r.dec.UseNumber()
	return r.value(0)
}

// jsonSyntax finds the line of a syntax error.
func jsonSyntax(data []byte, err error) error {
	e := &lineError{1, "not valid JSON: " + err.Error()}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) && syntax.Offset > 0 {
		e.line += bytes.Count(data[:syntax.Offset-1], []byte("\n"))
	}
	return e
}

// jsonReader turns tokens into nodes and counts lines.
type jsonReader struct {
	data []byte
	dec  *json.Decoder
	at   int64 // up to where lines were counted
	line int
}

// token is the next token and the line of its last byte; no token of JSON
// spans lines.
func (r *jsonReader) token() (json.Token, int, error) {
	tok, err := r.dec.Token()
	if err != nil {
		return nil, r.line, &lineError{r.line, "not valid JSON: " + err.Error()}
	}
	end := r.dec.InputOffset()
	r.line += bytes.Count(r.data[r.at:end], []byte("\n"))
	r.at = end
	return tok, r.line, nil
}

func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	tok, line, err := r.token()
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: line}
	switch v := tok.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, &lineError{line, fmt.Sprintf("nested deeper than %d levels", maxDepth)}
		}
		return n, r.container(n, v, depth)
	case string:
		n.Tag, n.Value = "!!str", v
	case json.Number:
		n.Tag, n.Value = "!!float", v.String()
		if _, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
			n.Tag = "!!int"
		}
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(v)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}

// container reads what follows an opening bracket, up to its closing one.
func (r *jsonReader) container(n *yaml.Node, open json.Delim, depth int) error {
	n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
	if open == '{' {
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
	}
	// Keys are read as values: the decoder gives them as strings.
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.Content = append(n.Content, item)
	}
	_, _, err := r.token()
	return err
}

// jsonObject reads a mapping into JSON, for a plugin.
func (d *decoder) jsonObject(to *json.RawMessage) reader {
	return func(n *yaml.Node, path string) {
		errs := len(d.errs)
		v := n
		if n.Kind == yaml.AliasNode {
			v = n.Alias
		}
		if v.Kind != yaml.MappingNode && v.ShortTag() != "!!null" {
			d.failf(v, path, "want keys and values, got %s", kindOf(v))
			return
		}
		if out := d.json1(nil, n, path, 0); len(d.errs) == errs && v.Kind == yaml.MappingNode {
			*to = out
		}
	}
}

// json1 appends a node as JSON; the keys keep their order.
func (d *decoder) json1(out []byte, n *yaml.Node, path string, depth int) []byte {
	if depth > maxDepth {
		d.failf(n, path, "nested deeper than %d levels", maxDepth)
		return out
	}
	v := n
	if n.Kind == yaml.AliasNode {
		v = n.Alias
	}
	switch v.Kind {
	case yaml.MappingNode:
		out = append(out, '{')
		d.each(n, path, func(key, value *yaml.Node, at string) {
			out = append(appendText(separate(out), key.Value), ':')
			out = d.json1(out, value, at, depth+1)
		})
		return append(out, '}')
	case yaml.SequenceNode:
		out = append(out, '[')
		d.list(func(item *yaml.Node, at string) {
			out = d.json1(separate(out), item, at, depth+1)
		})(n, path)
		return append(out, ']')
	}
	if v = d.enter(n, path); v == nil {
		return out
	}
	return d.jsonScalar(out, v, path)
}

// separate puts a comma behind an element.
func separate(out []byte) []byte {
	if last := out[len(out)-1]; last != '{' && last != '[' {
		out = append(out, ',')
	}
	return out
}

func (d *decoder) jsonScalar(out []byte, n *yaml.Node, path string) []byte {
	var v any
	switch n.ShortTag() {
	case "!!null", "!!bool", "!!int", "!!float":
		if err := n.Decode(&v); err != nil {
			d.failf(n, path, "%v", err)
		}
	case "!!str", "!!timestamp":
		return appendText(out, n.Value)
	default:
		d.failf(n, path, "the type %.40s is not supported; quote the value", n.ShortTag())
	}
	b, err := json.Marshal(v)
	if err != nil {
		d.failf(n, path, "%s cannot be told to a plugin", kindOf(n))
	}
	return append(out, b...)
}

func appendText(out []byte, s string) []byte {
	b, _ := json.Marshal(s) // a string always encodes
	return append(out, b...)
}
