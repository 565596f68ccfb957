package config

const redacted = "[redacted]"

// Secret is a value that must not be seen: it prints, logs and encodes as
// "[redacted]".
type Secret string

// Value is the secret itself.
func (s Secret) Value() string { return string(s) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// MarshalText implements encoding.TextMarshaler, for JSON and YAML too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
