package https

import (
	"math"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// tcpInfo asks the kernel what it measured on c; ok is false when it does not say.
func tcpInfo(c *net.TCPConn) (info tcpFacts, ok bool) {
	rc, err := c.SyscallConn()
	if err != nil {
		return tcpFacts{}, false
	}
	var (
		raw  *unix.TCPInfo
		fail error
	)
	err = rc.Control(func(fd uintptr) {
		raw, fail = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	if err != nil || fail != nil {
		return tcpFacts{}, false
	}
	info.retransmits = int(raw.Total_retrans)
	info.mtu, info.segment = int(raw.Pmtu), int(raw.Snd_mss)
	info.unacked, info.outOfOrder = raw.Unacked > 0, raw.Rcv_ooopack > 0
	// The kernel writes all ones, or an old one nothing, when it has no sample.
	if raw.Min_rtt != 0 && raw.Min_rtt != math.MaxUint32 {
		info.minRTT = time.Duration(raw.Min_rtt) * time.Microsecond
	}
	return info, true
}
