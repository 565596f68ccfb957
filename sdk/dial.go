package sdk

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// maxAddresses of one name are tried by [Dial].
const maxAddresses = 4

// Dial connects over TCP to addr, "host:port". The result has the stages dns,
// where host is a name, and connect, the handshake with the address that
// answered, which is one round trip: the RTT. (A net.Dialer that is given a name
// has the lookup, and attempts at other addresses, in its time.) Addresses are
// tried in turn, each with its share of ctx's time. The caller closes the
// connection; errors are those of package net, for [ReasonOf].
func Dial(ctx context.Context, addr string) (net.Conn, Result, error) {
	return dial(ctx, addr, net.DefaultResolver.LookupNetIP)
}

type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

func dial(ctx context.Context, addr string, find lookup) (conn net.Conn, r Result, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, r, err
	}
	ips := make([]netip.Addr, 1)
	if ips[0], err = netip.ParseAddr(host); err != nil {
		began := time.Now()
		if ips, err = find(ctx, "ip", host); err != nil {
			return nil, r, err
		}
		r.Stages = append(r.Stages, Stage{Name: "dns", Took: time.Since(began)})
	}
	err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true} // unless there is one to try
	ips = ips[:min(len(ips), maxAddresses)]
	for i, ip := range ips {
		began := time.Now()
		conn, err = attempt(ctx, net.JoinHostPort(ip.Unmap().String(), port), len(ips)-i)
		if err == nil {
			r.RTT = time.Since(began)
			r.Stages = append(r.Stages, Stage{Name: "connect", Took: r.RTT})
			return conn, r, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, r, err
}

// attempt may take its part of the time that is left.
func attempt(ctx context.Context, addr string, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
