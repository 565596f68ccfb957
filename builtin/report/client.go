package report

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// server is where snapshots go.
type server struct {
	name, ip string
	port     uint16
	dialer   net.Dialer
}

// host is what the URL says: the name, or else the address.
func (s *server) host() string {
	if s.name != "" {
		return s.name
	}
	return s.ip
}

func (s *server) addr() string { return net.JoinHostPort(s.host(), strconv.Itoa(int(s.port))) }

// dial connects to the name, or to the address when the name does not resolve.
func (s *server) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	c, err := s.dialer.DialContext(ctx, network, s.addr())
	var unresolved *net.DNSError
	if s.name == "" || s.ip == "" || !errors.As(err, &unresolved) {
		return c, err
	}
	c, err = s.dialer.DialContext(ctx, network, net.JoinHostPort(s.ip, strconv.Itoa(int(s.port))))
	if err != nil {
		return nil, fmt.Errorf("%w (%s does not resolve: %s)", err, s.name, unresolved.Err)
	}
	return c, nil
}

// newClient makes a client that talks to the holder of the pinned key only, goes
// where it is sent by the configuration only, and keeps no connection: minutes
// pass between two snapshots.
func newClient(s *server, own *tls.Certificate, verify func(keyHash) error) *http.Client {
	cfg := &tls.Config{
		MinVersion:         tls.VersionTLS12, // the server may be a node of the original
		InsecureSkipVerify: true,             // certificates are self-signed: verify checks the key
		VerifyConnection: func(cs tls.ConnectionState) error {
			return verify(hashOf(cs.PeerCertificates[0]))
		},
		SessionTicketsDisabled: true, // a resumed session would let in a server whose key has changed
	}
	if own != nil {
		cfg.Certificates = []tls.Certificate{*own}
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: s.dial, TLSClientConfig: cfg,
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
