package path

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// ladderPoll is how often a connection is asked what was acknowledged.
const ladderPoll = 2 * time.Millisecond

// climbTCP is the climber of the system.
func climbTCP(ctx context.Context, to netip.AddrPort, sizes []int) (climb, error) {
	d := net.Dialer{KeepAlive: -1, Timeout: connectTime}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return climb{}, err
	}
	c := conn.(*net.TCPConn)
	defer c.Close()
	_ = c.SetLinger(0) // what is stuck is not worth sending again
	_ = c.SetNoDelay(true)
	_ = c.SetWriteBuffer(4 * ladderBytes) // the kernel reckons with more than the bytes
	return newRung(c, to).climb(ctx, sizes)
}

// rung is one connection of a ladder.
type rung struct {
	conn   *net.TCPConn
	v6     bool
	offset int // bytes of the stream written
}

func newRung(c *net.TCPConn, to netip.AddrPort) *rung {
	return &rung{conn: c, v6: to.Addr().Unmap().Is6()}
}

// state is what the kernel says of the connection.
type state struct {
	mss, pmtu, overhead int
	rtt, minRTT         time.Duration
	unacked             int // bytes
	segments            int
}

func (r *rung) state() (s state, err error) {
	raw, err := r.conn.SyscallConn()
	if err != nil {
		return s, err
	}
	var fail error
	err = raw.Control(func(fd uintptr) {
		info, e := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if e != nil {
			fail = e
			return
		}
		s.mss, s.pmtu = int(info.Snd_mss), int(info.Pmtu)
		s.rtt = time.Duration(info.Rtt) * time.Microsecond
		s.minRTT = time.Duration(info.Min_rtt) * time.Microsecond
		s.segments = int(info.Segs_out)
		s.overhead = 20 + 20
		if r.v6 {
			s.overhead = 40 + 20
		}
		if info.Options&1 != 0 { // TCPI_OPT_TIMESTAMPS: 10 bytes, padded
			s.overhead += 12
		}
		s.unacked, fail = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
	})
	if err != nil {
		return s, err
	}
	return s, fail
}

// climb writes the segments all at once, and watches the acknowledgements.
func (r *rung) climb(ctx context.Context, sizes []int) (climb, error) {
	s, err := r.state()
	if err != nil {
		return climb{}, err
	}
	began := s
	c := climb{limit: s.mss + s.overhead, pmtu: s.pmtu, rtt: s.minRTT}
	var sent []int
	var ends []int // of each segment in the stream
	for _, size := range sizes {
		n := size - s.overhead
		if size > c.limit || n < 1 || r.offset+n > ladderBytes {
			continue
		}
		if whole, err := r.write(n); err != nil {
			return c, err
		} else if !whole {
			break
		}
		sent, ends = append(sent, size), append(ends, r.offset)
	}
	// TCP tells the window only after the first round trip, and may wait for it.
	deadline, acked := time.Now().Add(r.patience(s)), 0
	for {
		if s, err = r.state(); err != nil {
			return c, err
		}
		if now := r.offset - s.unacked; now > acked {
			acked = now
			deadline = time.Now().Add(r.patience(s))
		}
		lowered := s.pmtu < began.pmtu || s.mss < began.mss
		if acked == r.offset || lowered || time.Now().After(deadline) {
			break
		}
		if err := pause(ctx, ladderPoll); err != nil {
			return c, err
		}
	}
	c.packets, c.bytes = s.segments, r.offset+s.segments*s.overhead
	c.pmtu, c.lowered = s.pmtu, s.pmtu < began.pmtu
	c.limit = s.mss + s.overhead
	for i, end := range ends {
		switch {
		case c.lowered && sent[i] > s.pmtu: // sent again, in pieces
		case end <= acked:
			c.passed = sent[i]
		case c.stalled == 0 && !c.lowered:
			c.stalled = sent[i]
		}
	}
	return c, nil
}

func (r *rung) patience(s state) time.Duration { return ladderStall + 3*s.rtt }

// write writes n bytes of the stream as one segment. whole is false when the kernel
// has no room for it; it is not waited for, since a hole never makes any.
func (r *rung) write(n int) (whole bool, err error) {
	raw, err := r.conn.SyscallConn()
	if err != nil {
		return false, err
	}
	b := endlessHello(r.offset, n)
	var (
		wrote int
		fail  error
	)
	err = raw.Control(func(fd uintptr) {
		wrote, fail = unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_EOR|unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	})
	r.offset += max(wrote, 0)
	switch {
	case err != nil:
		return false, err
	case errors.Is(fail, unix.EAGAIN):
		return false, nil
	}
	return wrote == n, fail
}

// endlessHello is n bytes, from offset, of TLS records with a ClientHello of 65535
// bytes.
func endlessHello(offset, n int) []byte {
	const (
		record = 1 << 14
		whole  = 5 + record
	)
	head := [...]byte{22, 3, 1, record >> 8, 0, 1, 0, 0xff, 0xff, 3, 3}
	b := make([]byte, n)
	for i := range b {
		at := offset + i
		switch in := at % whole; {
		case in < 5 || at < len(head):
			b[i] = head[in]
		default:
			b[i] = noise()[at]
		}
	}
	return b
}
