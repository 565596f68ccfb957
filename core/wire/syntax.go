package wire

import (
	"net/netip"
	"strings"

	"github.com/seahow-uk/nodeprobe/core"
)

// Limits of fields, in bytes.
const (
	maxProbe   = 63
	maxReason  = 64
	maxMessage = 256
	// maxClaim holds "seed-" + a name of 253 bytes + "-" + an IPv6 address.
	maxClaim = 5 + 253 + 1 + 45
)

// wantTime is what a field with a time must hold.
const wantTime = "a time in RFC 3339 between 1970 and 2200"

// isUUID tells that s names a node: the UUID of zeros names none.
func isUUID(s string) bool {
	id, err := core.ParseNodeID(s)
	return err == nil && !id.IsZero()
}

// isWord tells that s is 1 to limit bytes of a-z 0-9 _ - and begins with a
// letter or digit.
func isWord(s string, limit int) bool {
	if s == "" || len(s) > limit || s[0] == '-' || s[0] == '_' {
		return false
	}
	for i := range len(s) {
		if !isLower(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

func isLower(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_'
}

// isClaim tells that s can be an id as nodes of the original send it: empty, a
// UUID, or "seed-FQDN-IP".
func isClaim(s string) bool {
	if s == "" || isUUID(s) {
		return true
	}
	return strings.HasPrefix(s, "seed-") && isPlain(s)
}

// isPlain tells that s holds only what names, addresses and ids are made of.
func isPlain(s string) bool {
	if len(s) > maxClaim {
		return false
	}
	for _, c := range []byte(s) {
		upper := c >= 'A' && c <= 'Z'
		if !isLower(c) && !upper && c != '-' && c != '.' && c != ':' {
			return false
		}
	}
	return true
}

// hostName is s when it names a host: what the original writes for "I do not
// know" counts as empty; an address may stand in the place of a name.
func hostName(s string) (name string, ok bool) {
	if s == "" || s == "unknown" {
		return "", true
	}
	e, err := core.NewEndpoint(s, core.DefaultPort)
	return e.Host, err == nil
}

// address is s in canonical form when it is an IP address without a zone.
func address(s string) (ip string, ok bool) {
	if s == "" || s == "unknown" {
		return "", true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return "", false
	}
	return a.Unmap().String(), true
}
