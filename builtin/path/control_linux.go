package path

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// controlOf makes the control messages of a packet to send.
func (s *socket) controlOf(from netip.Addr, ttl int) []byte {
	var b []byte
	if from.IsValid() && !from.IsUnspecified() {
		if s.v6 {
			b = append(b, unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.As16()})...)
		} else {
			b = append(b, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.Unmap().As4()})...)
		}
	}
	if ttl > 0 {
		level, typ := unix.IPPROTO_IP, unix.IP_TTL
		if s.v6 {
			level, typ = unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT
		}
		b = append(b, controlInt(level, typ, ttl)...)
	}
	return b
}

// controlInt is a control message with an int.
func controlInt(level, typ, value int) []byte {
	b := make([]byte, unix.CmsgSpace(4))
	h := b[:0]
	if unix.SizeofPtr == 8 {
		h = binary.NativeEndian.AppendUint64(h, uint64(unix.CmsgLen(4)))
	} else {
		h = binary.NativeEndian.AppendUint32(h, uint32(unix.CmsgLen(4)))
	}
	h = binary.NativeEndian.AppendUint32(h, uint32(level))
	h = binary.NativeEndian.AppendUint32(h, uint32(typ))
	binary.NativeEndian.AppendUint32(h, uint32(value))
	return b
}

// read takes up one control message.
func (a *arrival) read(h unix.Cmsghdr, data []byte) {
	level, typ := int(h.Level), int(h.Type)
	switch {
	case level == unix.SOL_SOCKET && typ == unix.SCM_TIMESTAMPING:
		if t := timestamp(data); !t.IsZero() {
			a.at = t
		}
	case level == unix.SOL_SOCKET && typ == unix.SO_RXQ_OVFL && len(data) >= 4:
		a.overflow = binary.NativeEndian.Uint32(data)
	case level == unix.IPPROTO_IP && typ == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		a.index = int(int32(binary.NativeEndian.Uint32(data)))
		a.to = netip.AddrFrom4([4]byte(data[8:12]))
	case level == unix.IPPROTO_IPV6 && typ == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		a.to = netip.AddrFrom16([16]byte(data[:16]))
		a.index = int(binary.NativeEndian.Uint32(data[16:]))
	case level == unix.IPPROTO_IP && typ == unix.IP_TTL && len(data) >= 4,
		level == unix.IPPROTO_IPV6 && typ == unix.IPV6_HOPLIMIT && len(data) >= 4:
		a.ttl = int(binary.NativeEndian.Uint32(data))
	case level == unix.IPPROTO_IP && typ == unix.IP_RECVERR,
		level == unix.IPPROTO_IPV6 && typ == unix.IPV6_RECVERR:
		a.readError(data)
	}
}

// readError reads a struct sock_extended_err and the address behind it.
func (a *arrival) readError(data []byte) {
	const size = 16
	if len(data) < size {
		return
	}
	origin, typ, code := data[4], data[5], data[6]
	info, id := binary.NativeEndian.Uint32(data[8:]), binary.NativeEndian.Uint32(data[12:])
	switch origin {
	case unix.SO_EE_ORIGIN_TIMESTAMPING:
		a.kind, a.id = arrivalSent, id
	case unix.SO_EE_ORIGIN_LOCAL:
		a.kind, a.icmp = arrivalError, icmpError{byHost: true, mtu: int(info)}
	case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
		v6 := origin == unix.SO_EE_ORIGIN_ICMP6
		e := icmpError{router: rawAddr(data[size:]), typ: typ, code: code, v6: v6, what: kindOf(v6, typ, code)}
		if e.what == icmpTooBig {
			e.mtu = int(min(info, 1<<20))
		}
		a.kind, a.icmp = arrivalError, e
	}
}

// rawAddr reads a struct sockaddr of either family.
func rawAddr(b []byte) netip.Addr {
	if len(b) < 2 {
		return netip.Addr{}
	}
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		if len(b) >= unix.SizeofSockaddrInet4 {
			return netip.AddrFrom4([4]byte(b[4:8]))
		}
	case unix.AF_INET6:
		if len(b) >= unix.SizeofSockaddrInet6 {
			return netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		}
	}
	return netip.Addr{}
}

// timestamp reads the first of three struct timespec, that of the software.
func timestamp(b []byte) time.Time {
	var sec, nsec int64
	switch {
	case unix.SizeofPtr == 8 && len(b) >= 16:
		sec, nsec = int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:]))
	case unix.SizeofPtr == 4 && len(b) >= 8:
		sec, nsec = int64(int32(binary.NativeEndian.Uint32(b))), int64(int32(binary.NativeEndian.Uint32(b[4:])))
	}
	if sec == 0 && nsec == 0 {
		return time.Time{}
	}
	return time.Unix(sec, nsec)
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr)
		if a.ZoneId != 0 && ip.IsLinkLocalUnicast() {
			if i, err := net.InterfaceByIndex(int(a.ZoneId)); err == nil {
				ip = ip.WithZone(i.Name)
			}
		}
		return netip.AddrPortFrom(ip, uint16(a.Port))
	}
	return netip.AddrPort{}
}
