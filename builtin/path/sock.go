package path

import (
	"net/netip"
	"time"
)

// Overheads of a UDP packet: the IP header without options, and that of UDP.
const (
	overhead4 = 20 + 8
	overhead6 = 40 + 8
)

// overheadOf is how much larger a packet to ip is than its payload.
func overheadOf(ip netip.Addr) int {
	if ip.Unmap().Is4() {
		return overhead4
	}
	return overhead6
}

// role of a socket.
type role uint8

const (
	roleProber    role = iota // the kernel tells when it sent each packet (arrivalSent)
	roleReflector             // it does not; packets may come faster than they are read
)

// arrivalKind is what a socket has to tell.
type arrivalKind uint8

const (
	arrivalPacket arrivalKind = iota + 1 // a packet
	arrivalError                         // an ICMP error about a packet that was sent
	arrivalSent                          // the kernel's time of a packet that was sent
)

// arrival is a packet, or what the error queue says of a packet sent before.
type arrival struct {
	kind arrivalKind
	// at is the kernel's time: of arrival, or of sending (arrivalSent). It is that
	// of user when the kernel did not say.
	at time.Time
	// user is when this process got it.
	user time.Time

	// payload of the packet, or as much of the sent one as the error quotes. It is
	// in the buffer of receive.
	payload []byte
	// cut tells that the packet was larger than the buffer.
	cut bool
	// from is the sender of a packet, or the destination of the one that the error
	// is about.
	from netip.AddrPort
	// to is the own address that a packet was sent to, and index its interface.
	to    netip.Addr
	index int
	// ttl that a packet or an ICMP error arrived with; 0 is not known.
	ttl int
	// overflow counts the packets that the kernel dropped so far because the
	// receive queue was full.
	overflow uint32

	icmp icmpError
	// id of the packet sent, as send gave it (arrivalSent).
	id uint32
}

// icmpError is what an ICMP error says.
type icmpError struct {
	// router that sent it; not valid for an error of this host.
	router     netip.Addr
	typ, code  uint8
	mtu        int // that a router claims for a packet too big; else 0
	what       icmpKind
	v6, byHost bool // byHost: this host itself, no ICMP
}

// icmpKind sums up types and codes of both families.
type icmpKind uint8

const (
	icmpOther        icmpKind = iota
	icmpTooBig                // fragmentation needed, packet too big
	icmpTimeExceeded          // TTL or hop limit spent on the way
	icmpPort                  // no such port: the host itself says so
	icmpProhibited            // a filter says so
	icmpUnreachable           // no way there
)

// kindOf reads type and code.
func kindOf(v6 bool, typ, code uint8) icmpKind {
	switch {
	case !v6 && typ == 3:
		switch code {
		case 3:
			return icmpPort
		case 4:
			return icmpTooBig
		case 9, 10, 13:
			return icmpProhibited
		}
		return icmpUnreachable
	case !v6 && typ == 11, v6 && typ == 3:
		return icmpTimeExceeded
	case v6 && typ == 2:
		return icmpTooBig
	case v6 && typ == 1:
		switch code {
		case 4:
			return icmpPort
		case 1, 5, 6:
			return icmpProhibited
		}
		return icmpUnreachable
	}
	return icmpOther
}
