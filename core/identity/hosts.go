package identity

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// maxHosts bounds a certificate: 100 names and addresses are some 3 kB, sent
// in every handshake.
const maxHosts = 100

// LocalHosts are the names given, the host's own name, localhost, and the
// addresses of all interfaces that are up, sorted. Link-local addresses are
// left out: nobody dials a peer by them, and on hosts with containers they come
// and go. Interfaces that cannot be read are left out too.
func LocalHosts(names ...string) []string {
	hosts := append([]string{"localhost"}, names...)
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		addrs = nil
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLinkLocalUnicast() {
			hosts = append(hosts, p.Addr().Unmap().String())
		}
	}
	return tidyHosts(hosts)
}

// tidyHosts lower-cases, sorts names before addresses, and removes what is
// double, empty or too much.
func tidyHosts(hosts []string) []string {
	tidy := make([]string, 0, len(hosts))
	for _, h := range hosts {
		if h = strings.ToLower(strings.TrimSuffix(h, ".")); h != "" {
			tidy = append(tidy, h)
		}
	}
	slices.SortFunc(tidy, func(a, b string) int {
		if an, bn := isAddress(a), isAddress(b); an != bn {
			return cmp.Compare(an, bn)
		}
		return strings.Compare(a, b)
	})
	tidy = slices.Compact(tidy)
	return tidy[:min(len(tidy), maxHosts)]
}

// isAddress is 1 for an IP address, 0 for a name.
func isAddress(host string) int {
	if _, err := netip.ParseAddr(host); err == nil {
		return 1
	}
	return 0
}
