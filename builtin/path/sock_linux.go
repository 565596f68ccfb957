package path

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seahow-uk/nodeprobe/sdk"
)

const (
	// receiveBuffer is what the receive queue holds: a burst of 100 packets of 9000
	// bytes. The kernel allows net.core.rmem_max, often less.
	receiveBuffer = 2 << 20
	// errorRetries of a call: an ICMP error about an earlier packet fails the next
	// call once, whatever that is.
	errorRetries = 4
	// controlSize holds the control messages of one packet: timestamps 64, packet
	// info 40, TTL 24, overflow 24, an error with its address 64.
	controlSize = 512
)

// socket is a UDP socket of one family whose packets are never fragmented, and
// which takes no notice of path MTUs that the kernel remembers. One goroutine
// may receive while others send.
type socket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	v6   bool
	role role

	control []byte // of receive
	// packets counts those received since the error queue was looked at.
	packets int

	mu   sync.Mutex // sent, and that ids are in the order of sending
	sent uint32
}

// listen makes a socket that talks to anybody; at has the address of its family.
func listen(at netip.AddrPort, r role) (*socket, error) {
	v6 := at.Addr().Is6() && !at.Addr().Is4In6()
	lc := net.ListenConfig{Control: setUp(v6, r)}
	c, err := lc.ListenPacket(context.Background(), network(v6), at.String())
	if err != nil {
		return nil, err
	}
	return newSocket(c.(*net.UDPConn), v6, r)
}

// dial makes a prober's socket that talks to to alone, from the local port, or any
// when that is 0. Sockets to different addresses may share a port.
func dial(port uint16, to netip.AddrPort) (*socket, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	v6 := to.Addr().Is6()
	d := net.Dialer{Control: setUp(v6, roleProber)}
	if port != 0 {
		d.LocalAddr = &net.UDPAddr{Port: int(port)}
	}
	c, err := d.Dial(network(v6), to.String())
	if err != nil {
		return nil, err
	}
	return newSocket(c.(*net.UDPConn), v6, roleProber)
}

func network(v6 bool) string {
	if v6 {
		return "udp6"
	}
	return "udp4"
}

func newSocket(c *net.UDPConn, v6 bool, r role) (*socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &socket{conn: c, raw: raw, v6: v6, role: r, control: make([]byte, controlSize)}, nil
}

// option is one of a socket.
type option struct {
	name       string
	level, opt int
	value      int
}

// setUp sets the options before the socket is bound: nothing may arrive before.
func setUp(v6 bool, r role) func(network, address string, c syscall.RawConn) error {
	stamps := unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE
	if r == roleProber {
		stamps |= unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
	}
	options := []option{
		{"SO_TIMESTAMPING", unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamps},
		{"SO_RXQ_OVFL", unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer},
	}
	if r == roleProber {
		options = append(options, option{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1})
	}
	if v6 {
		options = append(options,
			option{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE},
			option{"IPV6_DONTFRAG", unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1},
			option{"IPV6_RECVERR", unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1},
			option{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
			option{"IPV6_RECVHOPLIMIT", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1})
	} else {
		options = append(options,
			option{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE},
			option{"IP_RECVERR", unix.IPPROTO_IP, unix.IP_RECVERR, 1},
			option{"IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, 1},
			option{"IP_RECVTTL", unix.IPPROTO_IP, unix.IP_RECVTTL, 1})
	}
	return func(_, _ string, c syscall.RawConn) error {
		var fail error
		err := c.Control(func(fd uintptr) {
			for _, o := range options {
				if err := unix.SetsockoptInt(int(fd), o.level, o.opt, o.value); err != nil {
					fail = optionError(o.name, err)
					return
				}
			}
		})
		return errors.Join(err, fail)
	}
}

// optionError is that of a socket option: what a kernel does not know, as that of a
// sandbox may not, is no fault of the target.
func optionError(name string, err error) error {
	if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return sdk.Unsupported("this kernel has no socket option %s: %w", name, err)
	}
	return fmt.Errorf("socket option %s: %w", name, err)
}

func (s *socket) close() error { return s.conn.Close() }

// local address; that of a listening socket may be unspecified.
func (s *socket) local() netip.AddrPort {
	a := s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// remote address of a dialled socket.
func (s *socket) remote() netip.Addr {
	return s.conn.RemoteAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// kernelMTU is what the kernel remembers of the path of a dialled socket: a hint,
// up to 600 s old; 0 when it does not say.
func (s *socket) kernelMTU() int {
	if s.v6 {
		return s.option(unix.IPPROTO_IPV6, unix.IPV6_MTU)
	}
	return s.option(unix.IPPROTO_IP, unix.IP_MTU)
}

// hopLimit is the TTL that packets are sent with; 0 when the kernel does not say.
func (s *socket) hopLimit() int {
	if s.v6 {
		return s.option(unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS)
	}
	return s.option(unix.IPPROTO_IP, unix.IP_TTL)
}

// option is 0 when it cannot be read.
func (s *socket) option(level, opt int) (value int) {
	_ = s.raw.Control(func(fd uintptr) {
		if v, err := unix.GetsockoptInt(int(fd), level, opt); err == nil {
			value = v
		}
	})
	return value
}

// tooBigHere tells that err of send means: larger than the interface takes.
func tooBigHere(err error) bool { return errors.Is(err, unix.EMSGSIZE) }

// send sends payload to to, which is not valid on a dialled socket; from the own
// address from and with this TTL, if they are given. id is that of the arrivalSent
// of a prober's socket that may follow. The error is one of this packet: see
// tooBigHere.
func (s *socket) send(payload []byte, to netip.AddrPort, from netip.Addr, ttl int) (id uint32, err error) {
	control := s.controlOf(from, ttl)
	s.mu.Lock()
	defer s.mu.Unlock()
	for range errorRetries {
		if _, _, err = s.conn.WriteMsgUDPAddrPort(payload, control, to); err == nil {
			id = s.sent
			s.sent++
			return id, nil
		}
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
	}
	return 0, err
}

// receive waits for the next arrival until the deadline, if that is not zero; the
// error is then os.ErrDeadlineExceeded. What is there already is returned also later.
// The payload is in buf.
func (s *socket) receive(buf []byte, deadline time.Time) (arrival, error) {
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return arrival{}, err
	}
	for {
		var (
			a    arrival
			fail error
		)
		err := s.raw.Read(func(fd uintptr) bool {
			a, fail = s.next(int(fd), buf)
			return !errors.Is(fail, unix.EAGAIN)
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// A process that got no CPU in time may find here what came in time.
			late := s.raw.Control(func(fd uintptr) { a, fail = s.next(int(fd), buf) })
			if late != nil || errors.Is(fail, unix.EAGAIN) {
				return arrival{}, err
			}
			err = nil
		}
		switch {
		case err != nil:
			return arrival{}, err
		case fail != nil:
			return arrival{}, os.NewSyscallError("recvmsg", fail)
		case a.kind != 0:
			return a, nil
		}
	}
}

// next takes one arrival off the socket, without waiting. An arrival without a
// kind is one to be passed over.
func (s *socket) next(fd int, buf []byte) (arrival, error) {
	// The error queue is short: a flood of packets must not make it overflow.
	const patience = 32
	if s.packets < patience {
		if a, err := s.take(fd, buf, 0); err == nil {
			s.packets++
			return a, nil
		}
		// Any other error than EAGAIN is one that the error queue tells better.
	}
	s.packets = 0
	a, err := s.take(fd, buf, unix.MSG_ERRQUEUE)
	if !errors.Is(err, unix.EAGAIN) {
		return a, err
	}
	if a, err = s.take(fd, buf, 0); err == nil || errors.Is(err, unix.EAGAIN) {
		return a, err
	}
	return arrival{}, nil
}

func (s *socket) take(fd int, buf []byte, flags int) (arrival, error) {
	n, oobn, got, from, err := unix.Recvmsg(fd, buf, s.control, flags|unix.MSG_DONTWAIT)
	for errors.Is(err, unix.EINTR) {
		n, oobn, got, from, err = unix.Recvmsg(fd, buf, s.control, flags|unix.MSG_DONTWAIT)
	}
	if err != nil {
		return arrival{}, err
	}
	a := arrival{
		kind: arrivalPacket, user: time.Now(), payload: buf[:n],
		cut: got&unix.MSG_TRUNC != 0, from: addrPort(from),
	}
	a.at = a.user
	if flags&unix.MSG_ERRQUEUE != 0 {
		a.kind = 0 // until a control message says what it is
	}
	for b := s.control[:oobn]; len(b) > 0; {
		h, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		a.read(h, data)
		b = rest
	}
	return a, nil
}
