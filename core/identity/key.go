package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	keyFile = "identity.key"
	// maxFile is a hundred times what a key or a certificate takes.
	maxFile = 64 << 10

	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
)

// openKey reads the key of the directory, or makes it there once. Two
// processes that start at the same time get the same key.
func openKey(dir string) (key *ecdsa.PrivateKey, created bool, err error) {
	path := filepath.Join(dir, keyFile)
	if key, err = readKey(path); !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("make the data directory: %w", err)
	}
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, false, fmt.Errorf("make identity key: %w", err)
	}
	text, err := encodeKey(made)
	if err != nil {
		return nil, false, err
	}
	err = createFile(path, text, 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, false, fmt.Errorf("save identity key: %w; is the data directory writable for this user?", err)
	}
	key, err = readKey(path)
	return key, err == nil && key.Equal(made), err
}

// readKey reads a key file that nobody else can read. The error wraps
// fs.ErrNotExist when there is none, and else is one sentence with the remedy.
func readKey(path string) (*ecdsa.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("identity key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("identity key: %w", err)
	}
	if mode := info.Mode(); exposed(mode) {
		return nil, fmt.Errorf("identity key %s can be read or changed by others (mode %04o): run chmod 600 %s", path, mode.Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("identity key: %w", err)
	}
	key, err := decodeKey(text)
	if err != nil {
		return nil, fmt.Errorf("identity key %s is damaged: %w; restore it from a backup, or remove it to become a new node", path, err)
	}
	return key, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode identity key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

func decodeKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemKey {
		return nil, errors.New("no PEM block of type " + pemKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("not an ECDSA key on P-256")
	}
	return key, nil
}
