package path

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// callerID is the SHA-256 of the SubjectPublicKeyInfo of the node that asks.
type callerID [sha256.Size]byte

// tagSize is that of an authentication tag: HMAC-SHA-256 cut to 128 bits, as RFC
// 8972 section 4.8 has it.
const tagSize = 16

// callerKey is the key that the reflector with this secret and caller share. The
// reflector keeps no keys: it makes the key anew from each packet.
func callerKey(secret []byte, caller callerID) []byte {
	return sdk.ServiceKey(secret, caller[:])
}

// tagOf authenticates data.
func tagOf(key, data []byte) (tag [tagSize]byte) {
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	var sum [sha256.Size]byte
	copy(tag[:], mac.Sum(sum[:0]))
	return tag
}

// goodTag compares in constant time.
func goodTag(key, data []byte, tag [tagSize]byte) bool {
	want := tagOf(key, data)
	return hmac.Equal(want[:], tag[:])
}

// cookie proves that whoever shows it receives what is sent to its address, for
// as long as an epoch and the next last. Without it a recorded packet, sent again
// with somebody's address as its source, would draw large answers onto them.
type cookie [8]byte

// cookieFor makes the cookie of one address in one epoch.
func cookieFor(secret []byte, caller callerID, from netip.AddrPort, epoch uint64) (c cookie) {
	ip := from.Addr().As16()
	mac := hmac.New(sha256.New, secret)
	var buf [1 + len(caller) + len(ip) + 2 + 8]byte
	b := append(buf[:0], 'c') // keeps cookies and keys apart: a key is made of 32 bytes
	b = append(b, caller[:]...)
	b = append(b, ip[:]...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint64(b, epoch)
	mac.Write(b)
	var sum [sha256.Size]byte
	copy(c[:], mac.Sum(sum[:0]))
	return c
}
