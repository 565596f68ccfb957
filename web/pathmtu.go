package web

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
)

// headerPathMTU asks for, and in answers is, the MTU that this host's kernel takes the
// way to the caller to have. Where UDP does not pass, that is how a peer finds out
// whether segments are small because a router has just said so.
const headerPathMTU = "NodeProbe-Path-MTU"

type connKey struct{}

// TellPathMTU lets s tell callers who ask the path MTU of their connection, in bytes of
// the IP packet, with any answer. It changes nothing else of s, and is called before s serves.
func TellPathMTU(s *http.Server) {
	next := s.Handler
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(net.Conn); ok && r.Header.Get(headerPathMTU) != "" {
			if mtu := pathMTU(tcpOf(c)); mtu > 0 {
				w.Header().Set(headerPathMTU, strconv.Itoa(mtu))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// tcpOf is the connection below; nil when it is not of TCP.
func tcpOf(c net.Conn) *net.TCPConn {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if limited, ok := c.(*limitedConn); ok {
		c = limited.Conn
	}
	tcp, _ := c.(*net.TCPConn)
	return tcp
}
