package sdk

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Defaulter is a configuration, by pointer, with defaults of its own.
//
// A configuration is a struct, read from a JSON object with the field names of
// the json tags. Every field is optional unless it is tagged `nodeprobe:"required"`;
// what the jsonschema tag says of a field is its documentation. A [time.Duration]
// is written "30s"; types with UnmarshalText are texts. Reading is strict: an
// unknown key, one in another case, one given twice, a null and a value of
// another type are errors that name the path of the field. SetDefaults comes
// before reading (also for the elements of lists), [Validator] after it.
type Defaulter interface{ SetDefaults() }

// Validator is a configuration, or a struct in one, that checks itself. Errors may
// be joined. [Invalid] names the field; an error that begins with a field's name
// and a colon does too.
type Validator interface{ Validate() error }

// FieldError is what is wrong with one field of a configuration.
type FieldError struct {
	// Field is its path, "servers[0].port"; empty for the configuration as a whole.
	Field   string
	Message string
}

// Error is "servers[0].port: must not be 0".
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Invalid is a [FieldError]; the field is relative to the struct that checks
// itself. The format is that of fmt.Errorf. New may return it too.
func Invalid(field, format string, args ...any) error {
	return &FieldError{field, fmt.Errorf(format, args...).Error()}
}

// configType is the type of a part's configuration, a struct.
type configType struct{ typ reflect.Type }

func configTypeOf[C any]() configType { return configType{reflect.TypeFor[C]()} }

// decode reads data, an object or nothing, into a new value; config is a pointer
// to it. All errors are reported at once.
func (c configType) decode(data []byte) (config any, errs []FieldError) {
	v := reflect.New(c.typ)
	setDefaults(v.Elem())
	if len(data) == 0 {
		data = []byte("{}")
	}
	var d decoder
	if d.wellFormed(data) {
		d.value("", data, v.Elem())
	}
	return v.Interface(), d.errs
}

func (c configType) fields() []field {
	t := c.typ
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return fieldsOf(t)
}

func setDefaults(v reflect.Value) {
	if d, ok := v.Addr().Interface().(Defaulter); ok {
		d.SetDefaults()
	}
}

// fieldErrors takes err, of a struct with these fields, apart; every path is put
// below path.
func fieldErrors(path string, fields []field, err error) []FieldError {
	var named *FieldError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []FieldError
		for _, e := range joined.Unwrap() {
			all = append(all, fieldErrors(path, fields, e)...)
		}
		return all
	}
	if errors.As(err, &named) {
		return []FieldError{{join(path, named.Field), named.Message}}
	}
	if name, rest, ok := strings.Cut(err.Error(), ": "); ok && slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
		return []FieldError{{join(path, name), rest}}
	}
	return []FieldError{{path, err.Error()}}
}

// join is the path of a field below path.
func join(path, name string) string {
	if path == "" || name == "" || name[0] == '[' {
		return path + name
	}
	return path + "." + name
}

// field is what the decoder and the schema know of a struct's field.
type field struct {
	name     string
	index    []int
	required bool
}

// fieldsOf are the fields that a configuration can set, promoted ones too.
func fieldsOf(t reflect.Type) []field {
	var list []field
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || tag == "-" {
			continue
		}
		name := f.Name
		if tag != "" {
			name = tag
		}
		list = append(list, field{name, f.Index, f.Tag.Get("nodeprobe") == "required"})
	}
	return list
}
