package sdk

import (
	"crypto/hmac"
	"crypto/sha256"
	"regexp"
	"strings"
)

// Service is something that a plugin runs beside its probes for the plugins of
// other nodes: it answers at a port of its own. The name also says which protocol
// is spoken.
type Service struct {
	Name string
	Port uint16
	// Key is what the node that is told of the service proves itself with:
	// [ServiceKey] of the secret and that node's key. It is nil where the service
	// runs. It is a secret: never log it.
	Key []byte
}

// Serving is a [Prober] or [Reporter] with services that listen. Each is declared
// with [Serves]; the host tells other nodes of it, with a key for each of them.
type Serving interface {
	// Services are those that listen now, at most 8. It is called when New has
	// returned and every few seconds from then on, at any time and from any goroutine,
	// so that one may come later or go; it must not block. (A plugin without probes is
	// asked once.) A service that another instance of the process shares may be named
	// again.
	Services() []Service
}

// CapabilityServices lets a probe have the keys of its targets' services: they
// are in [Target.Services].
const CapabilityServices = "services"

// servicePrefix and the name of a service are its capability.
const servicePrefix = "service."

// CapabilityService is the capability of running a service of that name. Its
// value is a secret of 32 bytes, the same in every run of the node.
func CapabilityService(name string) string { return servicePrefix + name }

// Serves says that instances may run services of these names, and needs the
// secrets for that, see [Grants.Service]. A name is like that of a kind, with at
// most 32 bytes.
func Serves(names ...string) Option {
	return func(p *Part) {
		for _, n := range names {
			Needs(CapabilityService(n))(p)
		}
	}
}

// Service is the secret of a service that the part [Serves]; nil when it was not
// granted: then the service must not run.
func (g Grants) Service(name string) []byte { return g[CapabilityService(name)] }

// ServiceKey is the key by which a caller proves itself to a service:
// HMAC-SHA256(secret, spki), spki being the SHA-256 of the SubjectPublicKeyInfo of
// the caller's node. A service that is told spki needs no list of its callers.
func ServiceKey(secret, spki []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(spki)
	return mac.Sum(nil)
}

// Service finds a service of the target, with its key.
func (t Target) Service(name string) (Service, bool) {
	for _, s := range t.Services {
		if s.Name == name {
			return s, true
		}
	}
	return Service{}, false
}

// Bounds of services.
const (
	maxServices    = 8
	maxServiceName = 32
	maxServiceKey  = 64
)

var serviceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// badService is the first capability in needs that is of a service with a name
// that cannot be; empty when there is none.
func badService(needs []string) string {
	for _, n := range needs {
		if name, ok := strings.CutPrefix(n, servicePrefix); ok && !serviceName.MatchString(name) {
			return n
		}
	}
	return ""
}
