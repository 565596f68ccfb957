//go:build !linux

package path

import (
	"context"
	"net/netip"
)

func climbTCP(context.Context, netip.AddrPort, []int) (climb, error) { return climb{}, errSystem() }
