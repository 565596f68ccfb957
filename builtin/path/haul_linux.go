package path

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// haulPage is what every node has, for anybody.
const haulPage = "/dashboard"

// fullSegments asks nodes for records of TLS that fill segments from the first on: Go
// begins with small ones.
const fullSegments = "nodeprobe-segments"

// maxHaul is how much of a page is read.
const maxHaul = 64 << 10

// haulTLS is the hauler of the system. Whose page it is does not matter, only how it
// comes; nothing is told to the server.
func haulTLS(ctx context.Context, to netip.AddrPort, size int) (haul, error) {
	header := 20 + 20
	if to.Addr().Unmap().Is6() {
		header = 40 + 20
	}
	d := net.Dialer{KeepAlive: -1, Timeout: connectTime, Control: func(_, _ string, c syscall.RawConn) error {
		var fail error
		err := c.Control(func(fd uintptr) {
			fail = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, size-header)
		})
		return errors.Join(err, fail)
	}}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return haul{}, err
	}
	raw := conn.(*net.TCPConn)
	defer raw.Close()
	_ = raw.SetLinger(0)
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	told, err := fetchPage(ctx, &impatient{raw, ladderStall}, to)
	h := haul{asked: size, whole: err == nil, told: told}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return h, err
	}
	h.look(raw, header)
	return h, ctx.Err()
}

// look asks the kernel what came.
func (h *haul) look(c *net.TCPConn, header int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		if info.Options&1 != 0 { // TCPI_OPT_TIMESTAMPS: 10 bytes, padded, and not in the MSS by now
			header += 12
		}
		h.asked = min(h.asked, int(info.Advmss)+header)
		h.full = int(info.Rcv_mss) + header
		h.packets = int(info.Segs_out)
		h.bytes = int(info.Bytes_received) + int(info.Segs_in+info.Segs_out)*header
	})
}

// headerPathMTU asks a node what its kernel believes of the way here.
const headerPathMTU = "NodeProbe-Path-MTU"

// fetchPage reads a page to its end, or as much of it as is read. told is the path MTU
// of the server's kernel after the page, if it was higher before: a router has told it
// meanwhile, and it is no old memory.
func fetchPage(ctx context.Context, c net.Conn, to netip.AddrPort) (told int, err error) {
	secure := tls.Client(c, &tls.Config{
		InsecureSkipVerify: true,
		// A small hello: the hole may be on the way there, too.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
		NextProtos:       []string{"http/1.1", fullSegments},
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		return 0, err
	}
	from := bufio.NewReader(secure)
	before, ended, err := ask(secure, from, http.MethodGet, to)
	if err != nil || !ended || before == 0 {
		return 0, err
	}
	if after, _, err := ask(secure, from, http.MethodHead, to); err == nil && after < before {
		return after, nil
	}
	return 0, nil
}

// ask asks for the page, and what the server's kernel believes by then; 0 when that is
// not told.
func ask(c net.Conn, from *bufio.Reader, method string, to netip.AddrPort) (mtu int, ended bool, err error) {
	_, err = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n%s: ?\r\nAccept-Encoding: identity\r\n\r\n", method, haulPage, to, headerPathMTU)
	if err != nil {
		return 0, false, err
	}
	resp, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxHaul+1))
	mtu, _ = strconv.Atoi(resp.Header.Get(headerPathMTU))
	return mtu, n <= maxHaul && !resp.Close, err
}

// impatient is a connection on which every read is to come in time.
type impatient struct {
	net.Conn
	patience time.Duration
}

func (i *impatient) Read(b []byte) (int, error) {
	if err := i.SetReadDeadline(time.Now().Add(i.patience)); err != nil {
		return 0, err
	}
	return i.Conn.Read(b)
}
