package web

import (
	"crypto/sha256"
	"net"
	"net/http"
	"net/netip"

	"github.com/seahow-uk/nodeprobe/core"
)

// caller is who made a request.
type caller struct {
	// ip is invalid on the admin socket.
	ip netip.Addr
	// key is what the TLS handshake proved; zero without a client certificate.
	key core.KeyHash
	// verified tells that key belongs to a node of the mesh, which is peer.
	verified bool
	peer     core.Node
}

func (s *Server) caller(r *http.Request) caller {
	c := caller{ip: remoteIP(r), key: clientKey(r)}
	if !c.key.IsZero() {
		c.peer, c.verified = s.mesh.ByKey(c.key)
	}
	return c
}

// clientKey is the hash of the key that the client proved to hold in the TLS
// handshake of this very connection.
func clientKey(r *http.Request) core.KeyHash {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return core.KeyHash{}
	}
	return sha256.Sum256(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
}

// from is the caller's address as text; empty on the admin socket.
func (c caller) from() string {
	if !c.ip.IsValid() {
		return ""
	}
	return c.ip.String()
}

func remoteIP(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// localIP is the address of this host that the caller used.
func localIP(r *http.Request) netip.Addr {
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return addrIP(a)
}
