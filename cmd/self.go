package cmd

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/config"
	"github.com/seahow-uk/nodeprobe/core/identity"
)

// describeSelf tells who self is when it listens on addr.
func describeSelf(cfg *config.Config, id *identity.Identity, addr net.Addr) (core.Self, error) {
	at, err := advertised(cfg, addr)
	if err != nil {
		return core.Self{}, err
	}
	return core.Self{
		ID: id.ID(), Key: id.Key(), FQDN: nodeName(cfg), Version: Version(),
		BootID: uuid.NewString(), Advertise: at, Started: time.Now(),
	}, nil
}

// nodeName is the configured name, or else the host's.
func nodeName(cfg *config.Config) string {
	if cfg.NodeName != "" {
		return cfg.NodeName
	}
	name, err := os.Hostname()
	if err != nil || !core.ValidHostName(name) {
		return ""
	}
	return name
}

// advertised is where peers can dial self: as configured, else the address
// listened on, else the first global address of the host.
func advertised(cfg *config.Config, addr net.Addr) (core.Endpoint, error) {
	listen, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return core.Endpoint{}, fmt.Errorf("listening on %s: %w", addr, err)
	}
	if e, ok := cfg.AdvertiseAt(listen.Port()); ok {
		return e, nil
	}
	ip := listen.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = primaryAddress()
	}
	return core.NewEndpoint(ip.String(), listen.Port())
}

func listensOnLoopback(addr net.Addr) bool {
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// primaryAddress is the host's first global unicast address, IPv4 before IPv6,
// or loopback on a host without a network.
func primaryAddress() netip.Addr {
	global := slices.DeleteFunc(interfaceAddresses(), func(ip netip.Addr) bool { return !ip.IsGlobalUnicast() })
	slices.SortStableFunc(global, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	if len(global) == 0 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return global[0]
}

func interfaceAddresses() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p.Addr().Unmap())
		}
	}
	return list
}

// hosts is every name and address of self: what its certificate is for.
func (n *node) hosts() []string {
	names := []string{nodeName(n.config())}
	if e, ok := n.config().AdvertiseAt(core.DefaultPort); ok {
		names = append(names, e.Host)
	}
	return identity.LocalHosts(names...)
}
