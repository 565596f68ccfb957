package core

// ServiceKey is a secret by which a node proves itself to a service of another
// one: bytes. It is kept in memory only, and prints as what it is, not what it
// says: no slice, because loggers print the elements of those.
type ServiceKey string

// String implements fmt.Stringer.
func (ServiceKey) String() string { return "[secret]" }

// GoString implements fmt.GoStringer.
func (k ServiceKey) GoString() string { return k.String() }

// MarshalText implements encoding.TextMarshaler, so that JSON has no key either.
func (k ServiceKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Service is what a plugin of a node runs for the plugins of other nodes: it
// answers at a port of its own. Core only passes it on.
type Service struct {
	// Name says which protocol is spoken: [a-z][a-z0-9-]*, at most 32 bytes.
	Name string
	Port uint16
	// Key is for the node that was told of the service; empty at the node that runs it.
	Key ServiceKey
}

// MaxServices of one node; MaxServiceKey is how long a key may be, in bytes.
const (
	MaxServices   = 8
	MaxServiceKey = 64
)

// ValidServiceName tells that s can be the name of a service.
func ValidServiceName(s string) bool {
	if s == "" || len(s) > 32 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}
