package identity

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/seahow-uk/nodeprobe/core"
)

// ServiceSecret is the secret of a service of that name, 32 bytes:
// HKDF-SHA256(private key, no salt, "nodeprobe service NAME"). It follows from the
// key, so that peers need not learn new keys after a restart.
func (i *Identity) ServiceSecret(name string) []byte {
	scalar, err := i.key.Bytes()
	if err != nil {
		panic("identity: " + err.Error()) // the key was decoded from such bytes
	}
	secret, err := hkdf.Key(sha256.New, scalar, nil, "nodeprobe service "+name, sha256.Size)
	if err != nil {
		panic(fmt.Sprintf("identity: derive the secret of service %s: %v", name, err)) // of 32 bytes it never fails
	}
	return secret
}

// ServiceKey is what the holder of the key caller proves itself to the service
// with, as sdk.ServiceKey says: HMAC-SHA256(secret, caller).
func (i *Identity) ServiceKey(name string, caller core.KeyHash) core.ServiceKey {
	mac := hmac.New(sha256.New, i.ServiceSecret(name))
	mac.Write(caller[:])
	return core.ServiceKey(mac.Sum(nil))
}
