package web

import (
	"net"
	"net/netip"
	"sync"
)

// limitListener closes connections over a limit as soon as they are accepted:
// those that wait in the kernel's queue would keep others out. The limit per
// address does not hold for loopback, where a whole mesh may live.
type limitListener struct {
	net.Listener
	total, perIP int

	mu   sync.Mutex // guards the rest
	open int
	byIP map[netip.Addr]int
}

func newLimitListener(ln net.Listener, total, perIP int) *limitListener {
	return &limitListener{Listener: ln, total: total, perIP: perIP, byIP: map[netip.Addr]int{}}
}

// Accept waits for the next connection within the limits.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := network(addrIP(c.RemoteAddr()))
		if l.enter(ip) {
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(ip) })}, nil
		}
		_ = c.Close() // it was never served: there is nothing to lose
	}
}

func (l *limitListener) enter(ip netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.total || !ip.IsLoopback() && l.byIP[ip] >= l.perIP {
		return false
	}
	l.open++
	l.byIP[ip]++
	return true
}

func (l *limitListener) leave(ip netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.byIP[ip]--; l.byIP[ip] == 0 {
		delete(l.byIP, ip)
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection and makes room for another one.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// addrIP is the address of a TCP peer without port; invalid for others.
func addrIP(a net.Addr) netip.Addr {
	if a, ok := a.(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// network is what limits are counted on: an IPv4 address, or the /64 that an
// IPv6 host can choose its addresses from.
func network(ip netip.Addr) netip.Addr {
	if !ip.Is6() || ip.IsLoopback() {
		return ip
	}
	p, _ := ip.Prefix(64) // 64 is never out of range
	return p.Addr()
}
