package path

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tcpFlow sends SYNs with a TTL, each from a new socket on the same port: routers
// that share the load by flow send all of them the same way. The kernel tells of
// ICMP errors as long as the handshake is not over (Linux 5.8 and later).
type tcpFlow struct {
	source, to netip.AddrPort
	current    *syn
	queue      socket   // reads error queues
	quote      [64]byte // of the SYN, not looked at: the kernel has checked it
	begun      bool     // a SYN is out: the port is chosen
}

// syn is a connection that is being made.
type syn struct {
	seq  int
	file *os.File
	raw  syscall.RawConn
	sent time.Time
}

func dialTCPFlow(port uint16, to netip.AddrPort) (flowSocket, error) {
	return &tcpFlow{
		source: netip.AddrPortFrom(netip.Addr{}, port), to: to, queue: socket{control: make([]byte, controlSize)},
	}, nil
}

func (f *tcpFlow) ends() (source, destination netip.AddrPort) { return f.source, f.to }

func (f *tcpFlow) close() {
	if f.current != nil {
		_ = f.current.file.Close()
		f.current = nil
	}
}

// send gives up the connection before: one flow has room for one. The first one
// moves on to the next port while somebody else has it.
func (f *tcpFlow) send(seq, ttl int) error {
	f.close()
	var err error
	for range portTries {
		if err = f.open(seq, ttl); err == nil || f.begun || !portTaken(err) {
			break
		}
		f.source = netip.AddrPortFrom(f.source.Addr(), f.source.Port()+1)
	}
	f.begun = true
	return err
}

func (f *tcpFlow) open(seq, ttl int) error {
	family, own := unix.AF_INET, netip.IPv4Unspecified()
	if f.to.Addr().Is6() {
		family, own = unix.AF_INET6, netip.IPv6Unspecified()
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	s := &syn{seq: seq}
	if err := f.connect(fd, ttl, netip.AddrPortFrom(own, f.source.Port()), s); err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.file = os.NewFile(uintptr(fd), "syn")
	if s.raw, err = s.file.SyscallConn(); err != nil {
		_ = s.file.Close()
		return err
	}
	f.current = s
	return nil
}

func (f *tcpFlow) connect(fd, ttl int, own netip.AddrPort, s *syn) error {
	if err := synOptions(fd, ttl, f.to.Addr().Is6()); err != nil {
		return optionError("of a SYN", err)
	}
	if err := unix.Bind(fd, sockaddr(own)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	s.sent = time.Now()
	if err := unix.Connect(fd, sockaddr(f.to)); err != nil && !errors.Is(err, unix.EINPROGRESS) && !errors.Is(err, unix.ECONNREFUSED) {
		return os.NewSyscallError("connect", err)
	}
	if own, err := unix.Getsockname(fd); err == nil {
		f.source = addrPort(own)
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	to := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		if i, err := net.InterfaceByName(zone); err == nil {
			to.ZoneId = uint32(i.Index)
		}
	}
	return to
}

// synOptions: one SYN and no more, its errors in the error queue, and a reset
// instead of a connection that lingers should the end accept.
func synOptions(fd, ttl int, v6 bool) error {
	set := func(level, name, value int) error { return unix.SetsockoptInt(fd, level, name, value) }
	errs := []error{
		set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		set(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_RX_SOFTWARE),
		set(unix.IPPROTO_TCP, unix.TCP_SYNCNT, 1),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
	}
	if v6 {
		errs = append(errs,
			set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
			set(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1),
			set(unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl),
			// A label is random by socket: routers would take each SYN for another flow.
			set(unix.IPPROTO_IPV6, unix.IPV6_AUTOFLOWLABEL, 0))
	} else {
		errs = append(errs, set(unix.IPPROTO_IP, unix.IP_RECVERR, 1), set(unix.IPPROTO_IP, unix.IP_TTL, ttl))
	}
	return errors.Join(errs...)
}

func (f *tcpFlow) receive(until time.Time) ([]answer, error) {
	s := f.current
	if s == nil {
		time.Sleep(time.Until(until))
		return nil, nil
	}
	if err := s.file.SetWriteDeadline(until); err != nil {
		return nil, err
	}
	var (
		a    answer
		over bool
	)
	err := s.raw.Write(func(fd uintptr) bool {
		a, over = f.outcome(int(fd), s)
		return over
	})
	switch {
	case over:
		f.close()
		return []answer{a}, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil
	default:
		return nil, err
	}
}

// outcome tells what became of the handshake; over is false while it goes on.
func (f *tcpFlow) outcome(fd int, s *syn) (a answer, over bool) {
	now := time.Now()
	a = answer{seq: s.seq, from: f.to.Addr(), kind: answerReached, rtt: now.Sub(s.sent)}
	if e, err := f.queue.take(fd, f.quote[:], unix.MSG_ERRQUEUE); err == nil && e.kind == arrivalError && !e.icmp.byHost {
		if e.at.After(s.sent) {
			a.rtt = e.at.Sub(s.sent)
		}
		if !a.describe(e.icmp, f.to.Addr()) {
			a.kind = answerRefused
		}
		return a, true
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return a, false
	case unix.Errno(errno) == unix.ECONNREFUSED:
		a.note = "refused"
		return a, true
	case errno != 0:
		// An error without its ICMP: whom it came from is not known.
		return answer{seq: s.seq, kind: answerRefused, note: unix.Errno(errno).Error(), rtt: a.rtt}, true
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return a, false
	}
	a.note = "accepted"
	if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && info.Rtt > 0 {
		a.rtt = time.Duration(info.Rtt) * time.Microsecond
	}
	return a, true
}
