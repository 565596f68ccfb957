package web

import (
	"net"

	"golang.org/x/sys/unix"
)

// pathMTU is 0 when the kernel does not say.
func pathMTU(c *net.TCPConn) (mtu int) {
	if c == nil {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			mtu = int(info.Pmtu)
		}
	})
	return mtu
}
