//go:build !linux

package path

import "net/netip"

// dialTCPFlow needs the error queue of TCP.
func dialTCPFlow(uint16, netip.AddrPort) (flowSocket, error) { return nil, errSystem() }
