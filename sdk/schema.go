package sdk

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

const draft = "https://json-schema.org/draft/2020-12/schema"

// schema is the JSON Schema of the configuration. The error says which Go type
// cannot be configured; it is for the author.
func (c configType) schema() (data json.RawMessage, err error) {
	if c.typ == nil {
		return nil, fmt.Errorf("the configuration has no type")
	}
	base := c.typ
	for base.Kind() == reflect.Pointer {
		base = base.Elem()
	}
	if base.Kind() != reflect.Struct {
		return nil, fmt.Errorf("configuration %s is no struct", c.typ)
	}
	types := map[reflect.Type]*jsonschema.Schema{}
	if err := special(base, types, map[reflect.Type]bool{}); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", c.typ, err)
	}
	s, err := jsonschema.ForType(base, &jsonschema.ForOptions{TypeSchemas: types})
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", c.typ, err)
	}
	defaults := reflect.New(base).Elem()
	setDefaults(defaults)
	refine(s, base, defaults)
	s.Schema = draft
	return json.Marshal(s)
}

// special finds the types that are not written as Go's own JSON would have it,
// and refuses what the decoder cannot set.
func special(t reflect.Type, types map[reflect.Type]*jsonschema.Schema, seen map[reflect.Type]bool) error {
	if seen[t] {
		return nil
	}
	seen[t] = true
	switch {
	case isDuration(t):
		types[t] = &jsonschema.Schema{
			Type: "string", Pattern: `^[+-]?(0|([0-9]*\.?[0-9]+|[0-9]+\.)(ns|us|µs|μs|ms|s|m|h))+$`, Examples: []any{"30s", "1h30m"},
		}
	case t == reflect.TypeFor[time.Time]():
		types[t] = &jsonschema.Schema{Type: "string", Format: "date-time"}
	case readsText(t):
		types[t] = &jsonschema.Schema{Type: "string"}
	case own(t):
		types[t] = &jsonschema.Schema{}
	case t.Kind() == reflect.Struct:
		return specialFields(t, types, seen)
	case t.Kind() == reflect.Map && t.Key().Kind() != reflect.String:
		return fmt.Errorf("%s: keys must be texts", t)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		types[t] = &jsonschema.Schema{Type: "string", ContentEncoding: "base64"}
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice, t.Kind() == reflect.Array, t.Kind() == reflect.Map:
		return special(t.Elem(), types, seen)
	}
	return nil
}

func specialFields(t reflect.Type, types map[reflect.Type]*jsonschema.Schema, seen map[reflect.Type]bool) error {
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous && f.Type.Kind() != reflect.Struct {
			return fmt.Errorf("%s: embedded %s must be a struct", t, f.Type)
		}
	}
	for _, f := range fieldsOf(t) {
		if err := special(t.FieldByIndex(f.index).Type, types, seen); err != nil {
			return err
		}
	}
	return nil
}

// refine brings what the package infers into line with the decoder: nothing is
// required but by tag, lists are never null, defaults are told.
func refine(s *jsonschema.Schema, t reflect.Type, defaults reflect.Value) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
		if defaults.IsValid() {
			defaults = defaults.Elem()
		}
	}
	switch {
	case s == nil || own(t):
	case t.Kind() == reflect.Struct:
		s.Required = nil
		for _, f := range fieldsOf(t) {
			refineField(s, f, t.FieldByIndex(f.index).Type, defaults)
		}
	case t.Kind() == reflect.Map:
		refine(s.AdditionalProperties, t.Elem(), reflect.Value{})
	case s.Items != nil:
		if len(s.Types) > 0 {
			s.Type, s.Types = "array", nil
		}
		refine(s.Items, t.Elem(), reflect.Value{})
	}
}

func refineField(s *jsonschema.Schema, f field, t reflect.Type, defaults reflect.Value) {
	property := s.Properties[f.name]
	if property == nil {
		return
	}
	if f.required {
		s.Required = append(s.Required, f.name)
	}
	var value reflect.Value
	if defaults.IsValid() {
		value = defaults.FieldByIndex(f.index)
		if !f.required {
			property.Default = defaultOf(value)
		}
	}
	refine(property, t, value)
}

// defaultOf is the JSON of v, nil for zero and for what has parts of its own.
func defaultOf(v reflect.Value) json.RawMessage {
	if v.IsZero() {
		return nil
	}
	var out any = v.Interface()
	switch {
	case isDuration(v.Type()):
		out = time.Duration(v.Int()).String()
	case own(v.Type()):
	case v.Kind() == reflect.Struct, v.Kind() == reflect.Map, v.Kind() == reflect.Pointer, v.Kind() == reflect.Interface,
		v.Kind() == reflect.Slice && v.Type().Elem().Kind() > reflect.Float64 && v.Type().Elem().Kind() != reflect.String,
		v.Kind() == reflect.Slice && isDuration(v.Type().Elem()):
		return nil
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil
	}
	return data
}
