package identity

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"github.com/seahow-uk/nodeprobe/core"
)

// KeyError tells that a server shows another key than the pinned one.
type KeyError struct {
	Want, Got core.KeyHash
}

// Error implements error.
func (e *KeyError) Error() string {
	return fmt.Sprintf("server shows key %s, pinned is %s", e.Got, e.Want)
}

// GetCertificate gives the current certificate to a server.
func (i *Identity) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return i.cert.Load(), nil
}

// ServerTLS is the configuration of the server. Callers may show a certificate
// and need not: the handshake proves their key, and what it may do is decided
// per request. Certificates is left empty, or else callers that dial an address
// would be shown the first certificate for ever. There are no session tickets:
// each handshake proves the keys anew. A client that offers FullSegments gets
// records as large as they can be from the first on.
func (i *Identity) ServerTLS() *tls.Config {
	cfg := i.serverTLS()
	full := i.serverTLS()
	full.DynamicRecordSizingDisabled = true
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, FullSegments) {
			return full, nil
		}
		return nil, nil
	}
	return cfg
}

// FullSegments is what a client offers, beside its protocol, that wants to see the
// server's largest segments of TCP: they tell the MTU of the way. For others they
// would only be a risk, since short answers in small ones pass many a black hole.
const FullSegments = "nodeprobe-segments"

func (i *Identity) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS12, // nodes of the original may not have 1.3
		ClientAuth:             tls.RequestClientCert,
		GetCertificate:         i.GetCertificate,
		SessionTicketsDisabled: true,
	}
}

// ClientTLS is the configuration to dial a server that has the pinned key, or
// any key when the pin is zero; names and dates are not looked at. The
// handshake fails with a *KeyError when the key is another one. The check runs
// in VerifyConnection, which resumption does not skip, and there is no session
// cache to resume from.
func (i *Identity) ClientTLS(pin core.KeyHash) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // the pin decides
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.cert.Load(), nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error { return verifyPin(cs, pin) },
	}
}

func verifyPin(cs tls.ConnectionState, pin core.KeyHash) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("server shows no certificate")
	}
	if got := KeyHashOf(cs.PeerCertificates[0]); !pin.IsZero() && got != pin {
		return &KeyError{Want: pin, Got: got}
	}
	return nil
}
