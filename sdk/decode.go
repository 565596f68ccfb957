package sdk

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

const maxConfigBytes = 1 << 20

// decoder reads JSON into Go values and collects what is wrong with it.
type decoder struct{ errs []FieldError }

func (d *decoder) bad(path, format string, args ...any) {
	d.errs = append(d.errs, FieldError{path, fmt.Sprintf(format, args...)})
}

func (d *decoder) wellFormed(data []byte) bool {
	if len(data) > maxConfigBytes {
		d.bad("", "is %d bytes long, at most %d are read", len(data), maxConfigBytes)
		return false
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		d.bad("", "is not JSON: %v", err)
		return false
	}
	return true
}

// value reads raw, which is well-formed, into v.
func (d *decoder) value(path string, raw json.RawMessage, v reflect.Value) {
	raw = bytes.TrimSpace(raw)
	null := string(raw) == "null"
	switch {
	case null && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface):
		v.SetZero()
	case null:
		d.bad(path, "got null, want %s", describe(v.Type()))
	case v.Kind() == reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		setDefaults(fresh.Elem())
		d.value(path, raw, fresh.Elem())
		v.Set(fresh)
	case isDuration(v.Type()):
		d.duration(path, raw, v)
	case own(v.Type()):
		d.own(path, raw, v)
	case v.Kind() == reflect.Struct:
		d.structure(path, raw, v)
	case v.Kind() == reflect.Map:
		d.mapping(path, raw, v)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8, v.Kind() == reflect.Array:
		d.list(path, raw, v)
	default:
		if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
			d.bad(path, "got %s, want %s", abridged(raw), describe(v.Type()))
		}
	}
}

func (d *decoder) duration(path string, raw json.RawMessage, v reflect.Value) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if took, err := time.ParseDuration(text); err == nil {
			v.SetInt(int64(took))
			return
		}
	}
	d.bad(path, "got %s, want %s", abridged(raw), describe(v.Type()))
}

func isDuration(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Duration]() || t == reflect.TypeFor[Duration]()
}

// own tells that t reads itself.
func own(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || readsText(t)
}

func readsText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func (d *decoder) own(path string, raw json.RawMessage, v reflect.Value) {
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		d.bad(path, "got %s: %v", abridged(raw), err)
	}
}

func (d *decoder) structure(path string, raw json.RawMessage, v reflect.Value) {
	before := len(d.errs)
	fields := fieldsOf(v.Type())
	given := map[string]bool{}
	d.members(path, raw, v.Type(), func(key string, value json.RawMessage) {
		for _, f := range fields {
			if f.name == key {
				given[key] = true
				d.value(join(path, key), value, v.FieldByIndex(f.index))
				return
			}
		}
		d.bad(join(path, key), "unknown key; %s", hint(key, fields))
	})
	for _, f := range fields {
		if f.required && !given[f.name] {
			d.bad(join(path, f.name), "is required")
		}
	}
	if check, ok := v.Addr().Interface().(Validator); ok && len(d.errs) == before {
		if err := check.Validate(); err != nil {
			d.errs = append(d.errs, fieldErrors(path, fields, err)...)
		}
	}
}

func (d *decoder) mapping(path string, raw json.RawMessage, v reflect.Value) {
	t := v.Type()
	out := reflect.MakeMap(t)
	d.members(path, raw, t, func(key string, value json.RawMessage) {
		elem := reflect.New(t.Elem()).Elem()
		setDefaults(elem)
		d.value(join(path, key), value, elem)
		out.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), elem)
	})
	v.Set(out)
}

// members calls f for each member of the object raw; one given twice is an error.
func (d *decoder) members(path string, raw json.RawMessage, t reflect.Type, f func(key string, value json.RawMessage)) {
	if raw[0] != '{' {
		d.bad(path, "got %s, want %s", abridged(raw), describe(t))
		return
	}
	seen := map[string]bool{}
	in := json.NewDecoder(bytes.NewReader(raw))
	_, _ = in.Token() // the opening brace
	for in.More() {
		key, _ := in.Token()
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			d.bad(path, "is not JSON: %v", err)
			return
		}
		name, _ := key.(string)
		if seen[name] {
			d.bad(join(path, name), "is given twice")
			continue
		}
		seen[name] = true
		f(name, value)
	}
}

func (d *decoder) list(path string, raw json.RawMessage, v reflect.Value) {
	var elems []json.RawMessage
	if json.Unmarshal(raw, &elems) != nil {
		d.bad(path, "got %s, want %s", abridged(raw), describe(v.Type()))
		return
	}
	if v.Kind() == reflect.Array && len(elems) != v.Len() {
		d.bad(path, "got %d elements, want %d", len(elems), v.Len())
		return
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(elems), len(elems)))
	}
	for i, elem := range elems {
		setDefaults(v.Index(i))
		d.value(path+"["+strconv.Itoa(i)+"]", elem, v.Index(i))
	}
}

// describe says what values a type takes.
func describe(t reflect.Type) string {
	switch {
	case isDuration(t):
		return `a duration such as "30s"`
	case readsText(t):
		return "a text"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Int8, reflect.Int16, reflect.Int32:
		bits := t.Bits() - 1
		return fmt.Sprintf("a whole number from %d to %d", -1<<bits, 1<<bits-1)
	case reflect.Uint, reflect.Uint64:
		return "a whole number, 0 or more"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(1)<<t.Bits()-1)
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a text in base64"
		}
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "a text"
	}
}

// abridged is raw as an error shows it: never a whole secret or a whole file.
func abridged(raw json.RawMessage) string {
	const most = 40
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	s := strings.ToValidUTF8(string(raw), "?")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
