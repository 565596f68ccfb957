package https

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/builtin/names"
	"github.com/seahow-uk/nodeprobe/sdk"
)

// minAttempt is the least time for one of several addresses, as in net.Dialer.
const minAttempt = 2 * time.Second

// dialer finds and connects to targets.
type dialer struct {
	names names.Resolver
	tcp   net.Dialer
}

func newDialer(allowLoopback bool, n sdk.NodeInfo) *dialer {
	d := &dialer{
		names: names.New(n),
		// A connection is idle for idleTimeout at most: no need to keep it alive.
		tcp: net.Dialer{KeepAlive: -1},
	}
	d.names.Permit = "allow_loopback"
	d.names.AllowLoopback = d.names.AllowLoopback || allowLoopback
	return d
}

// literal is the address that host writes; ok is false when host is a name. The
// operator or the handshake with another peer vouches for an address, so only
// those are refused that no host can have.
func literal(host string) (ip netip.Addr, ok bool, err error) {
	if inner, closed := strings.CutSuffix(host, "]"); closed && strings.HasPrefix(inner, "[") {
		host = inner[1:]
	}
	ip = address(host)
	if !ip.IsValid() {
		if !isHostName(host) {
			return ip, false, sdk.Fail(sdk.ReasonDNS, "%.80q is neither an IP address nor a host name", host)
		}
		return ip, false, nil
	}
	if ip.IsUnspecified() || ip.IsMulticast() {
		return ip, true, sdk.Fail(sdk.ReasonUnreachable, "%s is not the address of a host", ip)
	}
	return ip, true, nil
}

// connect tries the addresses in turn, each with its share of the time. took is
// how long the last attempt took. small limits the segments each way to what every
// path takes.
func (d *dialer) connect(ctx context.Context, ips []netip.Addr, port uint16, small bool) (c *net.TCPConn, took time.Duration, err error) {
	for i, ip := range ips {
		began := time.Now()
		c, err = d.attempt(ctx, netip.AddrPortFrom(ip, port), len(ips)-i, small)
		took = time.Since(began)
		if err == nil || ctx.Err() != nil {
			return c, took, err
		}
	}
	if len(ips) > 1 {
		err = fmt.Errorf("%d addresses: %w", len(ips), err)
	}
	return nil, took, err
}

func (d *dialer) attempt(ctx context.Context, to netip.AddrPort, left int, small bool) (*net.TCPConn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		share := max(time.Until(deadline)/time.Duration(left), minAttempt)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, share)
		defer cancel()
	}
	tcp := d.tcp
	if small {
		tcp.Control = limitSegments(smallSegment(to.Addr()))
	}
	return tcp.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
}
