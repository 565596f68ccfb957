package path

import (
	"encoding/binary"
	"sync"
	"time"
)

// quoted reads the session and sequence number of a packet of ours, of which an
// ICMP error quotes the beginning.
func quoted(b []byte) (ssid uint16, seq uint32, ok bool) {
	if len(b) < 16 || binary.BigEndian.Uint16(b[12:]) != errorEstimate {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(b[14:]), binary.BigEndian.Uint32(b), true
}

// quotedReply is quoted for a reply, with the number of its request.
func quotedReply(b []byte) (ssid uint16, askedSeq uint32, ok bool) {
	ssid, _, ok = quoted(b)
	if !ok || len(b) < 28 {
		return ssid, 0, false
	}
	return ssid, binary.BigEndian.Uint32(b[24:]), true
}

// sealed is the authenticated part of a packet and its tag.
type sealed struct {
	data []byte
	tag  [tagSize]byte
}

// check tells whether the packet was made with key.
func (s sealed) check(key []byte) bool { return goodTag(key, s.data, s.tag) }

// seal appends the tag of b[start:] and padding up to size. Between a packet
// without and one with the shortest padding lie three sizes that do not exist: nobody
// asks for them.
func seal(b []byte, start, size int, key []byte) []byte {
	tag := tagOf(key, b[start:])
	b = appendTLV(b, tlvHMAC, tagSize)
	b = append(b, tag[:]...)
	n := min(size, maxPayload) - (len(b) - start) - tlvHeader
	if n < 0 {
		return b
	}
	b = appendTLV(b, tlvPadding, n)
	return append(b, noise()[:n]...)
}

// noise is the padding. It is not of zeros: links that compress would let them
// through as a small packet. It is made once, because between the time in a packet
// and its sending must be little work.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, maxPayload)
	x := uint32(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
})

// walk calls visit with the TLVs of b up to the HMAC, behind which nothing but
// padding may stand. Types that are not known are for later versions.
func walk(b []byte, visit func(kind byte, value []byte) error) (s sealed, err error) {
	at, found := baseSize, false
	for range maxTLVs {
		if at == len(b) {
			break
		}
		if len(b)-at < tlvHeader {
			return sealed{}, errFormat
		}
		kind, n := b[at+1], int(binary.BigEndian.Uint16(b[at+2:]))
		v := b[at+tlvHeader:]
		if n > len(v) {
			return sealed{}, errFormat
		}
		v = v[:n]
		switch {
		case found && kind != tlvPadding, kind == tlvHMAC && n != tagSize, kind == tlvPadding && !found:
			return sealed{}, errFormat
		case kind == tlvHMAC:
			found = true
			s = sealed{b[:at], [tagSize]byte(v)}
		case !found:
			if err := visit(kind, v); err != nil {
				return sealed{}, err
			}
		}
		at += tlvHeader + n
	}
	if at != len(b) || !found {
		return sealed{}, errFormat
	}
	return s, nil
}

func appendTLV(b []byte, kind byte, length int) []byte {
	return binary.BigEndian.AppendUint16(append(b, 0, kind), uint16(length))
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, make([]byte, 8)...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(t.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

// parseTime is the zero time for 0.
func parseTime(b []byte) time.Time {
	sec, nsec := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if sec == 0 && nsec == 0 {
		return time.Time{}
	}
	return time.Unix(int64(sec), int64(nsec))
}

func clampSize(n int) uint16 { return uint16(min(max(n, 0), maxPayload)) }
