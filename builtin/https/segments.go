package https

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// Where small packets pass and large ones vanish, a connection is made and then
// hangs: the peer looks dead and is not. A second connection with small segments
// each way tells.
const (
	// Segments that every path takes: of IPv6 packets of 1280 bytes (RFC 8200 section 5),
	// and of those of 576 that every host of IPv4 must take (RFC 1122 section 4.2.2.6).
	smallSegment6 = 1220
	smallSegment4 = 536
	// findingBlackHole is told as long as it is seen.
	findingBlackHole = "mtu_black_hole"
)

// pollNew asks on a new connection, and on another one with small segments if that hangs.
func (r *run) pollNew(ctx context.Context, ips []netip.Addr, name string) error {
	earlier := r.result
	earlier.Attributes = make(map[string]string, 8)
	hung, err := r.pollOnce(ctx, ips, name, false)
	if !hung {
		return err
	}
	first, stage := r.result, r.stage
	r.result = earlier
	if _, err := r.pollOnce(ctx, ips, name, true); err != nil {
		r.result, r.stage = first, stage
		return os.ErrDeadlineExceeded
	}
	return nil
}

// pollOnce makes a connection and asks on it. hung tells that the peer took the
// connection and was not heard for most of the time, with some left.
func (r *run) pollOnce(ctx context.Context, ips []netip.Addr, name string, small bool) (hung bool, err error) {
	r.stage = stageConnect
	raw, connect, err := r.dialer.connect(ctx, ips, r.port, small)
	if err != nil {
		return false, err
	}
	r.took(stageConnect, connect)
	r.result.Attributes["remote_address"] = raw.RemoteAddr().String()
	until := ctx
	if deadline, ok := ctx.Deadline(); ok && !small && canLimitSegments {
		var cancel context.CancelFunc
		until, cancel = context.WithTimeout(ctx, time.Until(deadline)*2/3)
		defer cancel()
	}
	if err = r.secure(until, raw, name, connect); err == nil {
		r.conn.small, r.conn.hole = small, small && r.stuck.Load()
		var keep bool
		keep, err = r.exchange(until, time.Time{})
		r.finish(keep)
	}
	return err != nil && until.Err() != nil && ctx.Err() == nil, err
}

// smallSegment to ip.
func smallSegment(ip netip.Addr) int {
	if ip.Unmap().Is4() {
		return smallSegment4
	}
	return smallSegment6
}

// secure makes r.conn of raw.
func (r *run) secure(ctx context.Context, raw *net.TCPConn, name string, connect time.Duration) error {
	r.stage = stageTLS
	began := time.Now()
	c, err := r.handshake(ctx, raw, name)
	if err != nil {
		r.measure(raw, connect)
		_ = raw.Close()
		return err
	}
	r.took(stageTLS, time.Since(began))
	c.dialled, c.connect = began, connect
	c.remote = raw.RemoteAddr().String()
	r.readers.attach(c)
	r.conn = c
	return nil
}

// cut ends a connection whose time is over, and first asks the kernel whether
// segments are missing on it: a peer that is only slow has none.
func (r *run) cut(raw *net.TCPConn) {
	defer raw.Close()
	sdk.Survive(r.log, "the end of a connection", func() { r.stuck.Store(r.missing(raw) || r.stuck.Load()) })
}

// missesSegments tells that what was sent is not acknowledged though sent again,
// or that something came after what did not.
func missesSegments(raw *net.TCPConn) bool {
	facts, ok := tcpInfo(raw)
	return ok && (facts.unacked && facts.retransmits > 0 || facts.outOfOrder)
}

// describeSegments tells that c works because its segments are small.
func (r *run) describeSegments(c *conn) {
	if !c.small {
		return
	}
	r.result.Attributes["segments"] = "small"
	if c.hole {
		r.result.Findings = append(r.result.Findings, sdk.Finding{
			Kind: findingBlackHole, Message: "large packets vanish on the way to the peer or back: it is reached with small segments only",
		})
	}
}
