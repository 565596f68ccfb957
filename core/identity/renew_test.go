package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCertificate(t *testing.T) {
	i, err := Open(t.TempDir(), Options{
		Now: func() time.Time { return noon },
		Hosts: func() []string {
			return []string{"Node1.Example.com.", "node1", "192.168.1.10", "fd00::1", "node1", "", "bad name"}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cert := i.cert.Load().Leaf
	if want := []string{"node1", "node1.example.com", "192.168.1.10", "fd00::1"}; !slices.Equal(hostsOf(cert), want) {
		t.Errorf("got hosts %v, want %v", hostsOf(cert), want)
	}
	if want := []*url.URL{{Scheme: "urn", Opaque: "uuid:" + i.ID().String()}}; len(cert.URIs) != 1 || *cert.URIs[0] != *want[0] {
		t.Errorf("got URIs %v, want %v", cert.URIs, want)
	}
	if !cert.NotBefore.Equal(noon.Add(-time.Hour)) || !cert.NotAfter.Equal(noon.Add(90*24*time.Hour)) {
		t.Errorf("got %s to %s", cert.NotBefore, cert.NotAfter)
	}
	if want := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}; !slices.Equal(cert.ExtKeyUsage, want) {
		t.Errorf("got usages %v, want %v", cert.ExtKeyUsage, want)
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		t.Errorf("not self-signed: %v", err)
	}
	if cert.IsCA || cert.SerialNumber.BitLen() < 64 {
		t.Errorf("got CA %t, serial %s", cert.IsCA, cert.SerialNumber)
	}
	if _, err := tls.X509KeyPair(i.PEM(), i.PEM()); err != nil {
		t.Errorf("PEM: %v", err)
	}
}

func TestRestart(t *testing.T) {
	at := func(d time.Duration, hosts ...string) Options {
		return Options{Now: func() time.Time { return noon.Add(d) }, Hosts: func() []string { return hosts }}
	}
	day := 24 * time.Hour
	for name, row := range map[string]struct {
		second Options
		spoil  func(t *testing.T, dir string)
		renews bool
	}{
		"at once":          {second: at(0, "a", "10.0.0.1")},
		"an hour back":     {second: at(-time.Hour, "a", "10.0.0.1")},
		"other order":      {second: at(0, "10.0.0.1", "A.")},
		"more than 1/3":    {second: at(60*day-time.Second, "a", "10.0.0.1")},
		"1/3 left":         {second: at(60*day, "a", "10.0.0.1"), renews: true},
		"expired":          {second: at(400*day, "a", "10.0.0.1"), renews: true},
		"new address":      {second: at(0, "a", "10.0.0.2"), renews: true},
		"address gone":     {second: at(0, "a"), renews: true},
		"certificate lost": {second: at(0, "a", "10.0.0.1"), renews: true, spoil: func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, certificateFile)) }},
		"damaged":          {second: at(0, "a", "10.0.0.1"), renews: true, spoil: func(t *testing.T, dir string) { writeFile(t, "x", 0o644, dir, certificateFile) }},
		"of another key": {second: at(0, "a", "10.0.0.1"), renews: true, spoil: func(t *testing.T, dir string) {
			writeFile(t, readFile(t, keyDir(t), certificateFile), 0o644, dir, certificateFile)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first, err := Open(dir, at(0, "a", "10.0.0.1"))
			if err != nil {
				t.Fatal(err)
			}
			if row.spoil != nil {
				row.spoil(t, dir)
			}
			second, err := Open(dir, row.second)
			if err != nil {
				t.Fatal(err)
			}
			if second.ID() != first.ID() || second.Key() != first.Key() {
				t.Errorf("got id %s, want %s", second.ID(), first.ID())
			}
			if renewed := !second.cert.Load().Leaf.Equal(first.cert.Load().Leaf); renewed != row.renews {
				t.Errorf("got renewed %t, want %t", renewed, row.renews)
			}
			if got := readFile(t, dir, certificateFile); got != string(encodeCertificate(second.cert.Load())) {
				t.Error("the stored certificate is not the current one")
			}
		})
	}
}

func TestStartBeforeTheCertificate(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, Options{Hosts: fixedHosts, Now: func() time.Time { return noon }}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{Hosts: fixedHosts, Now: func() time.Time { return noon.Add(-time.Hour - time.Second) }})
	want := "the clock (2026-03-01T10:59:59Z) is before the certificate " + filepath.Join(dir, certificateFile) +
		" (valid from 2026-03-01T11:00:00Z): set the clock; if it is right, remove that file"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRunOverAYear(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		hosts := []string{"a", "10.0.0.1"}
		i, err := Open(dir, Options{Hosts: func() []string { return hosts }})
		if err != nil {
			t.Fatal(err)
		}
		key, renewals := i.Key(), 0
		i.OnRenew(func() {
			renewals++
			if got := i.cert.Load().Leaf; KeyHashOf(got) != key || time.Until(got.NotAfter) != lifetime {
				t.Errorf("renewal %d: key %s, %s left", renewals, KeyHashOf(got), time.Until(got.NotAfter))
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- i.Run(ctx) }()
		for day := range 365 {
			if left := time.Until(i.cert.Load().Leaf.NotAfter); left < renewBefore-checkEvery {
				t.Fatalf("day %d: only %s left", day, left)
			}
			time.Sleep(24 * time.Hour)
		}
		// 90 days each, renewed every 60: after 60, 120, ... 360.
		if renewals != 6 {
			t.Errorf("got %d renewals in a year, want 6", renewals)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestAddressesChange(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var hosts atomic.Pointer[[]string]
		hosts.Store(&[]string{"a", "10.0.0.1"})
		i, err := Open(dir, Options{Hosts: func() []string { return *hosts.Load() }})
		if err != nil {
			t.Fatal(err)
		}
		renewals := 0
		i.OnRenew(func() { renewals++ })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go i.Run(ctx)
		time.Sleep(time.Hour)
		synctest.Wait()
		if renewals != 0 {
			t.Fatalf("got %d renewals without a reason", renewals)
		}
		hosts.Store(&[]string{"a", "b", "10.0.0.1", "fd00::2"})
		time.Sleep(checkEvery)
		synctest.Wait()
		if got := hostsOf(i.cert.Load().Leaf); renewals != 1 || !slices.Equal(got, []string{"a", "b", "10.0.0.1", "fd00::2"}) {
			t.Errorf("got %d renewals, hosts %v", renewals, got)
		}
	})
}

func TestClockSetBackWhileRunning(t *testing.T) {
	clock := noon
	i, err := Open(t.TempDir(), Options{Hosts: fixedHosts, Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	clock = noon.Add(-48 * time.Hour)
	i.check()
	if got := i.cert.Load().Leaf.NotBefore; !got.Equal(clock.Add(-backdate)) {
		t.Errorf("got valid from %s, want %s", got, clock.Add(-backdate))
	}
}

func TestRenewalServesEvenIfNotSaved(t *testing.T) {
	certs := filepath.Join(t.TempDir(), "certs")
	clock := noon
	i, err := Open(t.TempDir(), Options{CertDir: certs, Hosts: fixedHosts, Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(certs); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "", 0o600, certs) // a file where the directory was
	clock = noon.Add(61 * 24 * time.Hour)
	renewals := 0
	i.OnRenew(func() { renewals++ })
	i.check()
	i.check()
	if got := i.cert.Load().Leaf.NotAfter; renewals != 1 || !got.Equal(clock.Add(lifetime)) {
		t.Errorf("got %d renewals, expiry %s", renewals, got)
	}
}

func TestLocalHosts(t *testing.T) {
	hosts := LocalHosts("Node1.Example.com")
	for _, want := range []string{"localhost", "node1.example.com", "127.0.0.1"} {
		if !slices.Contains(hosts, want) {
			t.Errorf("got %v, want %s in it", hosts, want)
		}
	}
	for _, h := range hosts {
		if strings.HasPrefix(h, "fe80:") || strings.Contains(h, "%") {
			t.Errorf("got the link-local address %s", h)
		}
	}
	many := make([]string, 300)
	for n := range many {
		many[n] = fmt.Sprintf("10.0.%d.%d", n/100, n%100)
	}
	if tidy := tidyHosts(append(many, "name")); len(tidy) != maxHosts || tidy[0] != "name" {
		t.Errorf("got %d hosts, first %s; want %d, the name first", len(tidy), tidy[0], maxHosts)
	}
}
