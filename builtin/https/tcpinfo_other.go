//go:build !linux

package https

import "net"

// tcpInfo knows nothing: the connect time stands in for the RTT.
func tcpInfo(*net.TCPConn) (info tcpFacts, ok bool) { return tcpFacts{retransmits: -1}, true }
