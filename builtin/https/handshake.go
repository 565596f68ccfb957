package https

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// clientTLS is the part of the TLS settings that all targets share. Nodes have
// self-signed certificates, so the chain is not verified; the key is, against
// the pin of the target. There is no session cache: a resumed session would let
// a peer in whose key has changed.
func clientTLS(own *tls.Certificate, postQuantum bool) *tls.Config {
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS12, // nodes of the original may have no better
		InsecureSkipVerify:     true,             // VerifyConnection checks the pin
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
	}
	if !postQuantum {
		cfg.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	}
	if own != nil {
		cfg.Certificates = []tls.Certificate{*own}
	}
	return cfg
}

// handshake proves the peer's key. With a pin, another key ends it before
// anything of ours, even our certificate, is sent.
func (r *run) handshake(ctx context.Context, raw *net.TCPConn, name string) (*conn, error) {
	cfg, pin := r.tls.Clone(), r.target.SPKI
	cfg.ServerName = name
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		return checkPin(pin, hashOf(cs.PeerCertificates[0]))
	}
	// Cheaper than HandshakeContext, which starts a goroutine for the same.
	stop := context.AfterFunc(ctx, func() { r.cut(raw) })
	defer stop()
	secure := tls.Client(raw, cfg)
	if err := secure.Handshake(); err != nil {
		return nil, err
	}
	cs := secure.ConnectionState()
	leaf := cs.PeerCertificates[0]
	return &conn{raw: raw, tls: secure, version: cs.Version, key: hashOf(leaf), leaf: leaf}, nil
}

// hashOf is what a pin is compared with.
func hashOf(cert *x509.Certificate) keyHash { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// checkPin compares a shown key with the pinned one; no pin admits any key.
func checkPin(pin []byte, shown keyHash) error {
	if len(pin) == 0 || string(pin) == string(shown[:]) {
		return nil
	}
	return sdk.Fail(sdk.ReasonIdentity, "the key shown is %x..., the pinned one %x...", shown[:8], pin[:min(8, len(pin))])
}
