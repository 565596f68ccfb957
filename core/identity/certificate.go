package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	certificateFile = "certificate.pem"
	// lifetime of a certificate; renewed with a third of it left.
	lifetime    = 90 * 24 * time.Hour
	renewBefore = lifetime / 3
	// backdate lets peers whose clocks are behind take a new certificate.
	backdate = time.Hour
)

// KeyHashOf is the hash of a certificate's key.
func KeyHashOf(cert *x509.Certificate) core.KeyHash {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// newCertificate signs a certificate of the key for the hosts with the key itself.
func newCertificate(key *ecdsa.PrivateKey, hosts []string, now time.Time) (*tls.Certificate, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	id := core.KeyHash(sha256.Sum256(spki)).NodeID()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: id.String(), Organization: []string{"NodeProbe"}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:         []*url.URL{{Scheme: "urn", Opaque: "uuid:" + id.String()}},

		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if core.ValidHostName(h) {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// readCertificate reads the certificate of the key; nil when there is none
// that can be used, with the reason why.
func readCertificate(path string, key *ecdsa.PrivateKey) (*tls.Certificate, string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "there was none"
	case err != nil:
		return nil, err.Error()
	case info.Size() > maxFile:
		return nil, "the stored one is damaged"
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err.Error()
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemCertificate {
		return nil, "the stored one is damaged"
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, "the stored one is damaged"
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, "the stored one is for another key"
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, ""
}

func encodeCertificate(cert *tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert.Leaf.Raw})
}

// hostsOf are the names and addresses that the certificate is for, tidy.
func hostsOf(cert *x509.Certificate) []string {
	hosts := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return tidyHosts(hosts)
}

// staleness tells why the certificate should be renewed now; empty: it should not.
func staleness(cert *x509.Certificate, hosts []string, now time.Time) string {
	switch {
	case now.Before(cert.NotBefore):
		return "the clock is before it"
	case now.After(cert.NotAfter):
		return "it has expired"
	case cert.NotAfter.Sub(now) <= renewBefore:
		return "a third of its life is left"
	case !slices.Equal(hostsOf(cert), hosts):
		return "names or addresses have changed"
	}
	return ""
}
