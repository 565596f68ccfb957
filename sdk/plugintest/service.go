package plugintest

import (
	"crypto/sha256"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// Secrets are grants to run services of these names. The secrets are the same in
// every test.
func Secrets(names ...string) sdk.Grants {
	out := sdk.Grants{}
	for _, n := range names {
		secret := sha256.Sum256([]byte("plugintest service " + n))
		out[sdk.CapabilityService(n)] = secret[:]
	}
	return out
}

// Service is a service with a secret of [Secrets] as a node is told of it whose
// key has the hash spki.
func Service(name string, port uint16, spki []byte) sdk.Service {
	return sdk.Service{Name: name, Port: port, Key: sdk.ServiceKey(Secrets(name).Service(name), spki)}
}
