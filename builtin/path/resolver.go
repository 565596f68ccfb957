package path

import (
	"context"
	"net/netip"
	"strings"

	"github.com/seahow-uk/nodeprobe/builtin/names"
	"github.com/seahow-uk/nodeprobe/sdk"
)

// resolver finds the address of a target, by the rule of the probe https.
type resolver struct{ names.Resolver }

// addressOf is the address that host writes, or the best of those that it may
// stand for. An address is vouched for by the operator or by the handshake with
// another peer: only those are refused that no host can have.
func (r *resolver) addressOf(ctx context.Context, host string) (netip.Addr, error) {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		ip = ip.Unmap()
		if ip.Zone() != "" {
			return netip.Addr{}, sdk.Fail(sdk.ReasonDNS, "%.80q is neither an IP address nor a host name", host)
		}
		if ip.IsUnspecified() || ip.IsMulticast() {
			return netip.Addr{}, sdk.Fail(sdk.ReasonUnreachable, "%s is not the address of a host", ip)
		}
		return ip, nil
	}
	found, err := r.Resolve(ctx, host)
	if err != nil {
		return netip.Addr{}, sdk.Fail(sdk.ReasonDNS, "%w", err)
	}
	return found[0], nil
}
