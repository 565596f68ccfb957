package report

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// keyHash is the SHA-256 of a SubjectPublicKeyInfo.
type keyHash = [sha256.Size]byte

func hashOf(cert *x509.Certificate) keyHash { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// pinsFile is where the pins are, in the directory of the reporter's state: lines
// for people too, as deleting one is what forgets a pin.
const pinsFile = "servers.json"

// pins remembers the keys of servers that took a snapshot, by address: an
// instance is replaced whenever our certificate is, and a process may crash.
type pins struct {
	mu     sync.Mutex // guards the rest
	byAddr map[string]keyHash
	file   string // empty: they are not kept
}

func newPins() *pins { return &pins{byAddr: make(map[string]keyHash)} }

// keepIn reads the pins that are in dir, and keeps those to come there. The error
// tells that a file which is there says nothing: whoever answers next is not to be
// trusted for that.
func (p *pins) keepIn(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	file := filepath.Join(dir, pinsFile)
	if p.file == file {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pinned keys: %w", err)
	}
	read := map[string]keyHash{}
	if err == nil {
		if err := decodePins(text, read); err != nil {
			return fmt.Errorf("pinned keys %s: %w; delete it to pin the next key", file, err)
		}
	}
	p.file = file
	maps.Copy(p.byAddr, read)
	return nil
}

func decodePins(text []byte, into map[string]keyHash) error {
	var list map[string]string
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	for addr, digits := range list {
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != len(keyHash{}) {
			return fmt.Errorf("%s: want 64 hexadecimal digits", addr)
		}
		into[addr] = keyHash(b)
	}
	return nil
}

// first pins key if addr has none yet. The error tells that it is not kept.
func (p *pins) first(addr string, key keyHash) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, pinned := p.byAddr[addr]; pinned {
		return nil
	}
	p.byAddr[addr] = key
	if p.file == "" {
		return nil
	}
	list := map[string]string{}
	for addr, key := range p.byAddr {
		list[addr] = hex.EncodeToString(key[:])
	}
	text, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return err
	}
	return replace(p.file, append(text, '\n'))
}

// replace writes a file that is there as a whole or as it was.
func replace(file string, text []byte) error {
	next := file + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(next, file)
}

// check tells why key is not the one of addr; a key is fine while none is pinned.
func (p *pins) check(addr string, key keyHash) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if want, pinned := p.byAddr[addr]; pinned && want != key {
		return sdk.Fail(sdk.ReasonIdentity, "%s shows the key %x..., pinned is %x...; server_spki_sha256 can say which is right", addr, key[:8], want[:8])
	}
	return nil
}
