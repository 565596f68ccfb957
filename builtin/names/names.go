// Package names has the rule of what the name of a peer may stand for. Names come
// from other peers: they must not lead to services of this host or its link,
// whichever probe looks them up.
package names

import (
	"context"
	"net"
	"net/netip"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// maxAddresses of one name that are used.
const maxAddresses = 4

// Resolver looks names up. It may be used concurrently.
type Resolver struct {
	// AllowLoopback lets names stand for loopback addresses.
	AllowLoopback bool
	// Permit names the setting of AllowLoopback in errors, if there is one.
	Permit string
	// Lookup is as that of net.Resolver.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// New makes a Resolver of the system's names for a probe of n: see [OnLoopback].
func New(n sdk.NodeInfo) Resolver {
	return Resolver{AllowLoopback: OnLoopback(n), Lookup: net.DefaultResolver.LookupNetIP}
}

// OnLoopback tells that names may stand for loopback addresses: the node is on
// one itself, as all of a mesh on one machine, or there is no node and the
// target is the word of whoever runs the probe by hand.
func OnLoopback(n sdk.NodeInfo) bool {
	if n.ID == "" {
		return true
	}
	host, _, err := net.SplitHostPort(n.Advertise)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}

// Resolve looks host up and keeps the addresses that a peer may have, at least
// one, the best first. Errors have [sdk.ReasonDNS] or are those of Lookup.
func (r *Resolver) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := r.Lookup(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var (
		allowed []netip.Addr
		refused error
	)
	for _, ip := range found {
		ip = ip.Unmap()
		if why := r.refuses(ip); why != "" {
			refused = sdk.Fail(sdk.ReasonDNS, "%s resolves to %s, %s", host, ip, why)
		} else if len(allowed) < maxAddresses {
			allowed = append(allowed, ip)
		}
	}
	switch {
	case len(allowed) > 0:
		return allowed, nil
	case refused != nil:
		return nil, refused
	default:
		return nil, sdk.Fail(sdk.ReasonDNS, "%s has no address", host)
	}
}

// refuses tells why a name must not stand for ip; empty when it may.
func (r *Resolver) refuses(ip netip.Addr) string {
	switch {
	case ip.IsUnspecified(), ip.IsMulticast():
		return "which is not the address of a host"
	case ip.IsLinkLocalUnicast():
		return "a link-local address: another host for everybody who asks"
	case ip.IsLoopback() && !r.AllowLoopback && r.Permit != "":
		return "which is this host itself (see /etc/hosts; " + r.Permit + " permits it)"
	case ip.IsLoopback() && !r.AllowLoopback:
		return "which is this host itself (see /etc/hosts)"
	default:
		return ""
	}
}
