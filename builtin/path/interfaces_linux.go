package path

import (
	"errors"
	"math"
	"net/netip"

	"golang.org/x/sys/unix"
)

// mtuOfInterface asks the kernel, in a few microseconds; 0 when there is no such
// interface.
func mtuOfInterface(name string) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // any kind will do
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	ask, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(fd, unix.SIOCGIFMTU, ask) != nil {
		return 0
	}
	return int(ask.Uint32())
}

// mtuTowards asks the kernel how large packets may leave: with one that is too large
// for any interface but loopback, which it refuses and says why. Nothing is sent. 0 is
// not known.
func mtuTowards(from, to netip.Addr) int {
	const discard = 9
	from, to = from.Unmap(), to.Unmap()
	family, options := unix.AF_INET, []option{
		{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE},
		{"IP_RECVERR", unix.IPPROTO_IP, unix.IP_RECVERR, 1},
	}
	if to.Is6() {
		family, options = unix.AF_INET6, []option{
			{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE},
			{"IPV6_DONTFRAG", unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1},
			{"IPV6_RECVERR", unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1},
		}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	for _, o := range options {
		if unix.SetsockoptInt(fd, o.level, o.opt, o.value) != nil {
			return 0
		}
	}
	if unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))) != nil || unix.Connect(fd, sockaddr(netip.AddrPortFrom(to, discard))) != nil {
		return 0
	}
	_, err = unix.SendmsgN(fd, noise()[:maxPayload], nil, nil, unix.MSG_DONTWAIT)
	if err == nil {
		return math.MaxUint16
	}
	if !errors.Is(err, unix.EMSGSIZE) {
		return 0
	}
	control := make([]byte, controlSize)
	_, n, _, _, err := unix.Recvmsg(fd, nil, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return 0
	}
	var a arrival
	for b := control[:n]; len(b) > 0; {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		a.read(h, data)
		b = rest
	}
	if !a.icmp.byHost {
		return 0
	}
	return a.icmp.mtu
}
