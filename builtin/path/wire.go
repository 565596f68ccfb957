package path

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"time"
)

// A packet is one of STAMP (RFC 8762 section 4.2.1 and 4.3.1: 44 bytes, the
// unauthenticated format) with TLVs (RFC 8972 section 4):
//
//	request: base, caller, ask, HMAC, padding
//	reply:   base, seen, icmp*, HMAC, padding
//
// The HMAC covers all that stands before it, more than the sequence number and
// TLVs that RFC 8972 asks for. The padding behind it is not covered; its length
// is, by the size in ask and seen. Timestamps are in the truncated PTPv2 format
// (bit Z of the error estimate), which holds nanoseconds without loss.
const (
	baseSize      = 44
	tlvHeader     = 4
	requestSize   = baseSize + tlvHeader + 32 + tlvHeader + askSize + tlvHeader + tagSize
	replySize     = baseSize + tlvHeader + seenSize + tlvHeader + tagSize
	maxReportSize = tlvHeader + icmpSize
	// maxPayload of a UDP packet over IPv4.
	maxPayload = math.MaxUint16 - 8 - 20
	// maxTLVs bounds the work on one packet.
	maxTLVs = 16
	// maxReports of ICMP in one reply.
	maxReports = 4
)

// Types of TLVs: the first two are of RFC 8972, the others from its range for
// experiments (240 to 251).
const (
	tlvPadding = 1
	tlvHMAC    = 8
	tlvCaller  = 240
	tlvAsk     = 241
	tlvSeen    = 242
	tlvICMP    = 243

	askSize  = 16
	seenSize = 28
	icmpSize = 28
)

// errorEstimate: not synchronised, PTPv2 format, scale 0, multiplier 1 (RFC 8762:
// it must not be 0).
const errorEstimate = 1<<14 | 1

// Reasons to ignore a packet. None is ever told to the sender.
var (
	errShort    = errors.New("shorter than a packet of STAMP")
	errFormat   = errors.New("not a packet of this protocol")
	errSize     = errors.New("of another size than it says")
	errWrongKey = errors.New("authenticated with another key")
)

// request is a packet to a reflector.
type request struct {
	seq  uint32
	ssid uint16 // the session
	sent time.Time
	// caller chooses the key.
	caller callerID
	// size of the payload, at least requestSize.
	size int
	// reply is the size of payload wanted in answer; 0 is as large as the request.
	// More than the request is only given for a good cookie.
	reply  int
	cookie cookie
}

// appendTo appends the packet, authenticated with key.
func (r *request) appendTo(b, key []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, r.seq)
	b = appendTime(b, r.sent)
	b = binary.BigEndian.AppendUint16(b, errorEstimate)
	b = binary.BigEndian.AppendUint16(b, r.ssid)
	b = append(b, make([]byte, 28)...)
	b = appendTLV(b, tlvCaller, len(r.caller))
	b = append(b, r.caller[:]...)
	b = appendTLV(b, tlvAsk, askSize)
	b = binary.BigEndian.AppendUint16(b, clampSize(max(r.size, requestSize)))
	b = binary.BigEndian.AppendUint16(b, clampSize(r.reply))
	b = append(b, 0, 0, 0, 0)
	b = append(b, r.cookie[:]...)
	return seal(b, start, r.size, key)
}

// parseRequest reads a packet without authenticating it; check does that.
func parseRequest(b []byte) (request, sealed, error) {
	var (
		r     request
		s     sealed
		known uint8 // bit 0 caller, bit 1 ask
	)
	if len(b) < requestSize {
		return r, s, errShort
	}
	r.seq = binary.BigEndian.Uint32(b)
	r.sent = parseTime(b[4:])
	r.ssid = binary.BigEndian.Uint16(b[14:])
	s, err := walk(b, func(kind byte, v []byte) error {
		switch {
		case kind == tlvCaller && len(v) == len(r.caller) && known&1 == 0:
			known |= 1
			copy(r.caller[:], v)
		case kind == tlvAsk && len(v) == askSize && known&2 == 0:
			known |= 2
			r.size = int(binary.BigEndian.Uint16(v))
			r.reply = int(binary.BigEndian.Uint16(v[2:]))
			copy(r.cookie[:], v[8:])
		case kind == tlvCaller, kind == tlvAsk, kind == tlvSeen:
			return errFormat
		}
		return nil
	})
	switch {
	case err != nil:
		return r, s, err
	case known != 3:
		return r, s, errFormat
	case r.size != len(b):
		return r, s, errSize
	}
	return r, s, nil
}

// reply is the answer of a reflector.
type reply struct {
	// seq counts the replies of the session, from 0; it is that of the request when
	// the reply is stateless.
	seq  uint32
	ssid uint16
	// received is the kernel's time of the request, sent that of just before the
	// reply: the difference is the residence.
	received, sent time.Time
	// askedSeq, askedSent and askedTTL are those of the request; a TTL of 0 is not
	// known.
	askedSeq  uint32
	askedSent time.Time
	askedTTL  uint8
	seen
	reports []report
	// size of the payload, at least what its parts need.
	size int
}

// seen is what the reflector knows beside times.
type seen struct {
	// got is the size of the request's payload as it came.
	got int
	// mtu of the interface that it came by; 0 is not known.
	mtu int
	// overflow counts packets that the reflector's kernel dropped for want of room
	// in the receive queue, of all callers; limited those of this session above the
	// caller's rate. Neither was lost on the way.
	overflow, limited uint32
	// stateless: the request had no good cookie, seq is no count. small: the size asked for was not given, for
	// want of a cookie. tooBig: nor could it be, the interface is smaller.
	stateless, small, tooBig bool
	cookie                   cookie
}

// report is an ICMP error about an earlier reply of the session: the reflector's
// error queue told it.
type report struct {
	// mtu that the router claims, 0 when it does not say.
	mtu int
	// router that sent it; not valid when not known.
	router netip.Addr
	// seq of the request whose reply it quotes, if quotes.
	seq    uint32
	quotes bool
}

const (
	flagStateless = 1 << iota
	flagSmall
	flagTooBig
)

// appendTo appends the packet, authenticated with key.
func (r *reply) appendTo(b, key []byte) []byte {
	start := len(b)
	reports := r.reports[:min(len(r.reports), maxReports)]
	size := max(r.size, replySize+len(reports)*maxReportSize)
	b = binary.BigEndian.AppendUint32(b, r.seq)
	b = appendTime(b, r.sent)
	b = binary.BigEndian.AppendUint16(b, errorEstimate)
	b = binary.BigEndian.AppendUint16(b, r.ssid)
	b = appendTime(b, r.received)
	b = binary.BigEndian.AppendUint32(b, r.askedSeq)
	b = appendTime(b, r.askedSent)
	b = binary.BigEndian.AppendUint16(b, errorEstimate)
	b = append(b, 0, 0, r.askedTTL, 0, 0, 0)
	b = appendTLV(b, tlvSeen, seenSize)
	b = binary.BigEndian.AppendUint16(b, clampSize(r.got))
	b = binary.BigEndian.AppendUint16(b, clampSize(size))
	b = binary.BigEndian.AppendUint32(b, uint32(max(r.mtu, 0)))
	b = binary.BigEndian.AppendUint32(b, r.overflow)
	b = binary.BigEndian.AppendUint32(b, r.limited)
	b = append(b, r.flags(), 0, 0, 0)
	b = append(b, r.cookie[:]...)
	for _, p := range reports {
		b = p.appendTo(b)
	}
	return seal(b, start, size, key)
}

func (r *reply) flags() (f byte) {
	for bit, set := range map[byte]bool{flagStateless: r.stateless, flagSmall: r.small, flagTooBig: r.tooBig} {
		if set {
			f |= bit
		}
	}
	return f
}

func (p report) appendTo(b []byte) []byte {
	b = appendTLV(b, tlvICMP, icmpSize)
	b = binary.BigEndian.AppendUint32(b, uint32(max(p.mtu, 0)))
	var ip [16]byte
	if p.router.IsValid() {
		ip = p.router.As16()
	}
	b = append(b, ip[:]...)
	b = binary.BigEndian.AppendUint32(b, p.seq)
	var quotes byte
	if p.quotes {
		quotes = 1
	}
	return append(b, quotes, 0, 0, 0)
}

// parseReply reads and authenticates a packet.
func parseReply(b, key []byte) (reply, error) {
	var (
		r    reply
		seen bool
		size int
	)
	if len(b) < replySize {
		return r, errShort
	}
	s, err := walk(b, func(kind byte, v []byte) error {
		switch {
		case kind == tlvSeen && len(v) == seenSize && !seen:
			seen = true
			size = r.parseSeen(v)
		case kind == tlvICMP && len(v) == icmpSize && len(r.reports) < maxReports:
			r.reports = append(r.reports, parseReport(v))
		case kind == tlvSeen, kind == tlvICMP, kind == tlvCaller:
			return errFormat
		}
		return nil
	})
	switch {
	case err != nil:
		return reply{}, err
	case !seen:
		return reply{}, errFormat
	case size != len(b):
		return reply{}, errSize
	case !s.check(key):
		return reply{}, errWrongKey
	}
	r.size = len(b)
	r.seq = binary.BigEndian.Uint32(b)
	r.sent = parseTime(b[4:])
	r.ssid = binary.BigEndian.Uint16(b[14:])
	r.received = parseTime(b[16:])
	r.askedSeq = binary.BigEndian.Uint32(b[24:])
	r.askedSent = parseTime(b[28:])
	r.askedTTL = b[40]
	return r, nil
}

// parseSeen reads v, of seenSize bytes, and tells the size of the reply.
func (r *reply) parseSeen(v []byte) (size int) {
	r.got = int(binary.BigEndian.Uint16(v))
	r.mtu = int(min(binary.BigEndian.Uint32(v[4:]), math.MaxInt32))
	r.overflow = binary.BigEndian.Uint32(v[8:])
	r.limited = binary.BigEndian.Uint32(v[12:])
	r.stateless = v[16]&flagStateless != 0
	r.small = v[16]&flagSmall != 0
	r.tooBig = v[16]&flagTooBig != 0
	copy(r.cookie[:], v[20:])
	return int(binary.BigEndian.Uint16(v[2:]))
}

func parseReport(v []byte) report {
	p := report{
		mtu:    int(min(binary.BigEndian.Uint32(v), math.MaxInt32)),
		seq:    binary.BigEndian.Uint32(v[20:]),
		quotes: v[24] != 0,
	}
	if ip := netip.AddrFrom16([16]byte(v[4:20])).Unmap(); !ip.IsUnspecified() {
		p.router = ip
	}
	return p
}
