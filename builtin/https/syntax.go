package https

import (
	"net/netip"
	"strings"
)

// Longest values taken from a body, in bytes.
const (
	maxName   = 253 // of a host, RFC 1035
	maxWord   = 64  // of a probe, reason or metric
	maxFreely = 64  // of what only people read: a version, a boot id
)

// nodeID is s as a canonical UUID; empty when it is none, or the nil UUID.
func nodeID(s []byte) string {
	if len(s) != 36 {
		return ""
	}
	zero := true
	for i, c := range s {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return ""
			}
		case !isHex(c):
			return ""
		case c != '0':
			zero = false
		}
	}
	if zero {
		return ""
	}
	return strings.ToLower(string(s))
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isHostName tells that s is made of labels of letters, digits, hyphens and
// underscores, and is not a number such as 0177.1, which resolvers take for an
// address.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > maxName {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
		last = label
	}
	numeric := strings.Trim(last, "0123456789") == "" || strings.HasPrefix(strings.ToLower(last), "0x")
	return !numeric
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// address is the IP address that s writes, without zone; invalid when it is none.
func address(s string) netip.Addr {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return netip.Addr{}
	}
	return ip.Unmap()
}

// isWord tells that s is a name as probes, reasons and metrics have it.
func isWord(s []byte) bool {
	if len(s) == 0 || len(s) > maxWord {
		return false
	}
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// isFree tells that s can be shown as it is: a version or a boot id.
func isFree(s []byte) bool {
	if len(s) > maxFreely {
		return false
	}
	for _, c := range s {
		if !isAlnum(c) && strings.IndexByte(".+-_~", c) < 0 {
			return false
		}
	}
	return true
}

// isETag tells that s is an entity tag (RFC 9110, section 8.8.3) short enough to
// be sent back on every poll.
func isETag(s string) bool {
	opaque := strings.TrimPrefix(s, "W/")
	if len(opaque) < 2 || len(s) > 128 || opaque[0] != '"' || opaque[len(opaque)-1] != '"' {
		return false
	}
	for i := 1; i < len(opaque)-1; i++ {
		if c := opaque[i]; c < '!' || c > '~' || c == '"' {
			return false
		}
	}
	return true
}
