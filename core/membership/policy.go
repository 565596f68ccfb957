package membership

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/seahow-uk/nodeprobe/core"
)

// Policy says which addresses of unverified origin may be dialled. Seeds are
// the operator's word and not subject to it.
type Policy struct {
	// Allow, when not empty, lists all that is allowed; Deny wins over it.
	Allow, Deny []netip.Prefix
	// Loopback tells that self itself listens on a loopback address: its mesh
	// is on this machine.
	Loopback bool
}

// reserved is never a node's address: "this network", multicast, class E with
// the broadcast address, and NAT64, which hides an IPv4 address from the policy.
func reserved(ip netip.Addr) bool {
	if ip.Is4() {
		first := ip.As4()[0]
		return first == 0 || first >= 224
	}
	return ip.IsUnspecified() || ip.IsMulticast() || nat64.Contains(ip)
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// allows tells that an address learned from hearsay or a caller may be dialled.
// A host name is judged by its form, and left out where addresses are listed:
// whoever names it also decides where it leads.
func (p Policy) allows(e core.Endpoint) bool {
	if e.Port == 0 {
		return false
	}
	ip := e.IP()
	if !ip.IsValid() {
		listed := len(p.Allow) > 0 || len(p.Deny) > 0
		return !listed && core.ValidHostName(e.Host) && !localName(e.Host)
	}
	ip = ip.Unmap()
	if reserved(ip) || ip.IsLinkLocalUnicast() || ip.Zone() != "" || ip.IsLoopback() && !p.Loopback {
		return false
	}
	within := func(nets []netip.Prefix) bool {
		return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(ip) })
	}
	return !within(p.Deny) && (len(p.Allow) == 0 || within(p.Allow))
}

// localName tells a name that leads back to this machine wherever it is said.
func localName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		strings.HasPrefix(host, "localhost.") || host == "ip6-localhost" || host == "ip6-loopback"
}

// endpointsOf is where a hint says a node is: the address first, the name only
// when that fails. The names of the original's defaults say nothing.
func endpointsOf(h core.PeerHint, p Policy) []core.Endpoint {
	port := h.Port
	if port == 0 {
		port = core.DefaultPort
	}
	var at []core.Endpoint
	for _, host := range []string{h.IP, h.FQDN} {
		e, err := core.NewEndpoint(host, port)
		if err == nil && host != "unknown" && p.allows(e) && !slices.Contains(at, e) {
			at = append(at, e)
		}
	}
	return at
}
