//go:build !linux

package path

import (
	"context"
	"net/netip"
)

func haulTLS(context.Context, netip.AddrPort, int) (haul, error) { return haul{}, errSystem() }
