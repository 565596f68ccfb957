package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

// checkEvery is how often the certificate is compared with the clock and the
// addresses of the host.
const checkEvery = time.Minute

// Options of Open; all may be left out.
type Options struct {
	// CertDir holds certificate.pem; empty: the directory of the key.
	CertDir string
	Log     hclog.Logger
	// Hosts gives the names and addresses that the certificate is for; nil:
	// LocalHosts. Called every minute by Run.
	Hosts func() []string
	// Now is time.Now if nil.
	Now func() time.Time
}

// Identity is a node's key with its current certificate. All methods may be
// called concurrently.
type Identity struct {
	o    Options
	key  *ecdsa.PrivateKey
	pem  []byte // the key
	hash core.KeyHash
	cert atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // guards renewed
	renewed []func()
}

// Open reads the identity of the directory, or makes one at the first start.
// The stored certificate is kept when it is for this key and these hosts and
// has more than a third of its life left. Each error is one sentence for the
// operator: the key can be read by others, it is damaged, a directory cannot be
// written, or the clock is before the stored certificate.
func Open(dir string, o Options) (*Identity, error) {
	if o.CertDir == "" {
		o.CertDir = dir
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Hosts == nil {
		o.Hosts = func() []string { return LocalHosts() }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	key, created, err := openKey(dir)
	if err != nil {
		return nil, err
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	i := &Identity{o: o, key: key, pem: text}
	if err := i.start(); err != nil {
		return nil, err
	}
	if created {
		o.Log.Info("identity made", "node", i.ID(), "key", i.Key().String())
	}
	return i, nil
}

// start takes the stored certificate or makes the first one.
func (i *Identity) start() error {
	path := i.certificatePath()
	now, hosts := i.o.Now(), i.hosts()
	cert, reason := readCertificate(path, i.key)
	if cert != nil {
		// Renewing here would hide a clock that is wrong, and history would be
		// written with its times.
		if now.Before(cert.Leaf.NotBefore) {
			return fmt.Errorf("the clock (%s) is before the certificate %s (valid from %s): set the clock; if it is right, remove that file",
				now.UTC().Format(time.RFC3339), path, cert.Leaf.NotBefore.Format(time.RFC3339))
		}
		reason = staleness(cert.Leaf, hosts, now)
	}
	if reason != "" {
		made, err := i.issue(hosts, now)
		if err != nil {
			return fmt.Errorf("save the certificate: %w; is the directory writable for this user?", err)
		}
		i.o.Log.Info("certificate made", "reason", reason, "expires", made.Leaf.NotAfter)
		cert = made
	}
	i.hash = KeyHashOf(cert.Leaf)
	i.cert.Store(cert)
	return nil
}

// issue makes a certificate and saves it; it comes with an error of saving too.
func (i *Identity) issue(hosts []string, now time.Time) (*tls.Certificate, error) {
	cert, err := newCertificate(i.key, hosts, now)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(i.o.CertDir, 0o700); err != nil {
		return cert, err
	}
	return cert, replaceFile(i.certificatePath(), encodeCertificate(cert), 0o644)
}

func (i *Identity) certificatePath() string { return filepath.Join(i.o.CertDir, certificateFile) }

// hosts are the tidy hosts that a certificate can hold, as hostsOf gives them.
func (i *Identity) hosts() []string {
	hosts := tidyHosts(i.o.Hosts())
	for n, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			hosts[n] = ip.String()
		}
	}
	hosts = slices.DeleteFunc(hosts, func(h string) bool { return net.ParseIP(h) == nil && !core.ValidHostName(h) })
	return tidyHosts(hosts)
}

// ID is the id that follows from the key.
func (i *Identity) ID() core.NodeID { return i.hash.NodeID() }

// Key is what peers pin.
func (i *Identity) Key() core.KeyHash { return i.hash }

// PEM is the current certificate and the key in one text: the value of the
// capability "identity". It is a secret.
func (i *Identity) PEM() []byte { return append(encodeCertificate(i.cert.Load()), i.pem...) }

// OnRenew has f called after every renewal, from the goroutine of Run: it must
// not block for long.
func (i *Identity) OnRenew(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.renewed = append(i.renewed, f)
}

// Run renews the certificate with the same key when a third of its life is
// left, when the names or addresses of the host change, and when the clock is
// set to before it; it looks every minute. It returns nil when ctx ends.
func (i *Identity) Run(ctx context.Context) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			i.check()
		}
	}
}

// check renews the certificate if it must be.
func (i *Identity) check() {
	now, hosts := i.o.Now(), i.hosts()
	reason := staleness(i.cert.Load().Leaf, hosts, now)
	if reason == "" {
		return
	}
	cert, err := i.issue(hosts, now)
	if cert == nil {
		i.o.Log.Error("certificate not renewed", "reason", reason, "error", err)
		return
	}
	i.cert.Store(cert)
	if err != nil {
		// It serves all the same; the next start makes another one.
		i.o.Log.Warn("certificate not saved", "file", i.certificatePath(), "error", err)
	}
	i.o.Log.Info("certificate renewed", "reason", reason, "expires", cert.Leaf.NotAfter)
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, f := range i.renewed {
		f()
	}
}
