package sdk

import (
	"crypto/tls"
	"fmt"

	"github.com/hashicorp/go-hclog"
)

// Env is what an instance gets from its host. It does not change in the life of
// the instance: what changes comes with a new one.
type Env struct {
	// Log goes to the host's log. Repeated failures of targets are results, not
	// log lines.
	Log  hclog.Logger
	Node NodeInfo
	// Grants are the values of what the part [Needs] and the host grants.
	Grants Grants
}

// NodeInfo is the node that hosts the plugin.
type NodeInfo struct {
	ID      string
	FQDN    string
	Version string
	// BootID is new at every start of the host.
	BootID string
	// Advertise is where peers can dial the node, "host:port".
	Advertise string
	// SPKI is the SHA-256 of the SubjectPublicKeyInfo of the node's own key, 32
	// bytes: what its peers pin. Nil when the host does not say.
	SPKI []byte
}

// CapabilityIdentity is the node's own certificate with its private key, PEM
// blocks in one value: what a probe needs to be known to other nodes.
const CapabilityIdentity = "identity"

// statePrefix and a name are a capability of keeping files.
const statePrefix = "state."

// CapabilityState is that of keeping files which outlive the process, in a
// directory of that name in the node's data directory; its value is the path. A
// name is like that of a service; whoever has the same one shares the directory. A
// node that pins no keys (trust: open) does not grant it.
func CapabilityState(name string) string { return statePrefix + name }

// State is the path of the directory of [CapabilityState]; empty when it was not
// granted: then nothing is kept.
func (g Grants) State(name string) string { return string(g[CapabilityState(name)]) }

// Grants are values by capability.
type Grants map[string][]byte

// Identity is the value of [CapabilityIdentity]; nil when it was not granted. The
// error says why the value is not a certificate with its key.
func (g Grants) Identity() (*tls.Certificate, error) {
	pem, ok := g[CapabilityIdentity]
	if !ok {
		return nil, nil
	}
	cert, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return nil, fmt.Errorf("capability %q: %w", CapabilityIdentity, err)
	}
	return &cert, nil
}
