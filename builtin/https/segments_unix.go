//go:build unix

package https

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// canLimitSegments tells that limitSegments works.
const canLimitSegments = true

// limitSegments makes a control function of a net.Dialer: segments of at most max
// bytes are sent, and asked for.
func limitSegments(max int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var fail error
		err := c.Control(func(fd uintptr) {
			fail = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, max)
		})
		if err != nil {
			return err
		}
		return fail
	}
}
