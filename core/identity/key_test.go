package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestFirstStartMakesPrivateFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "nodeprobe")
	i := open(t, dir)
	if i.ID() != i.Key().NodeID() || i.ID().IsZero() {
		t.Errorf("got id %s for key %s", i.ID(), i.Key())
	}
	want := map[string]fs.FileMode{".": 0o700, keyFile: 0o600, certificateFile: 0o644}
	for name, mode := range want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != mode && runtime.GOOS != "windows" {
			t.Errorf("got mode %o of %s, want %o", got, name, mode)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("got %v, %v; want the two files and nothing temporary", entries, err)
	}
}

func TestKeyModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes mean nothing here")
	}
	for mode, fine := range map[os.FileMode]bool{
		0o600: true, 0o400: true, 0o700: true,
		0o640: false, 0o604: false, 0o660: false, 0o644: false, 0o620: false, 0o602: false, 0o666: false, 0o777: false,
	} {
		dir := t.TempDir()
		open(t, dir)
		path := filepath.Join(dir, keyFile)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{Hosts: fixedHosts})
		want := fmt.Sprintf("identity key %s can be read or changed by others (mode %04o): run chmod 600 %s", path, mode, path)
		switch {
		case fine && err != nil:
			t.Errorf("mode %o: %v", mode, err)
		case !fine && (err == nil || err.Error() != want):
			t.Errorf("mode %o: got %v, want %s", mode, err, want)
		}
	}
}

func TestDamagedKey(t *testing.T) {
	good := readFile(t, keyDir(t), keyFile)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct{ text, want string }{
		"empty":       {"", "no PEM block of type PRIVATE KEY"},
		"text":        {"hello", "no PEM block of type PRIVATE KEY"},
		"cut":         {good[:len(good)/2], "no PEM block of type PRIVATE KEY"},
		"certificate": {readFile(t, keyDir(t), certificateFile), "no PEM block of type PRIVATE KEY"},
		"zeros":       {strings.Repeat("\x00", len(good)), "no PEM block of type PRIVATE KEY"},
		"huge":        {strings.Repeat("x", 2*maxFile) + good, "no PEM block of type PRIVATE KEY"},
		"not a key":   {string(pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: []byte("x")})), "asn1: "},
		"rsa":         {encode(t, rsaKey), "not an ECDSA key on P-256"},
		"p384":        {encode(t, p384), "not an ECDSA key on P-256"},
		"ed25519":     {encode(t, ed), "not an ECDSA key on P-256"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, row.text, 0o600, dir, keyFile)
			_, err := Open(dir, Options{Hosts: fixedHosts})
			if err == nil {
				t.Fatal("got no error")
			}
			if got := err.Error(); !strings.Contains(got, keyFile+" is damaged: "+row.want) ||
				!strings.HasSuffix(got, "; restore it from a backup, or remove it to become a new node") || strings.Contains(got, "\n") {
				t.Errorf("got %q, want it to be about %q", got, row.want)
			}
			if readFile(t, dir, keyFile) != row.text {
				t.Error("the damaged key was changed")
			}
		})
	}
}

func keyDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	open(t, dir)
	return dir
}

func encode(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}))
}

func TestStartsAtTheSameTimeAgreeOnTheKey(t *testing.T) {
	dir := t.TempDir()
	ids := make([]core.NodeID, 8)
	var all sync.WaitGroup
	for n := range ids {
		all.Go(func() {
			i, err := Open(dir, Options{Hosts: fixedHosts})
			if err != nil {
				t.Error(err)
				return
			}
			ids[n] = i.ID()
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] || id.IsZero() {
			t.Fatalf("got ids %v, want one", ids)
		}
	}
}

func TestUnwritableDirectory(t *testing.T) {
	// A file in the way works for root too, whom modes do not stop.
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, "", 0o600, file)
	if _, err := Open(filepath.Join(file, "data"), Options{}); err == nil {
		t.Error("got no error for a data directory below a file")
	}
	_, err := Open(t.TempDir(), Options{CertDir: filepath.Join(file, "certs")})
	if err == nil || !strings.HasPrefix(err.Error(), "save the certificate: ") {
		t.Errorf("got %v for a cert directory below a file", err)
	}
}

func TestCreateFileKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	writeFile(t, "old", 0o600, path)
	if err := createFile(path, []byte("new"), 0o600); err == nil {
		t.Error("createFile: got no error")
	}
	if err := renameNew(path+"x", path); err == nil {
		t.Error("renameNew: got no error")
	}
	if got := readFile(t, path); got != "old" {
		t.Errorf("got %q, want the old file", got)
	}
}
