package path

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// interfacesAge is how long the interfaces' names and addresses are believed.
const interfacesAge = time.Second

// interfaces knows the MTUs of this host's interfaces. They are those of now: one that
// was a second old could have a search end too low, and be believed for minutes.
type interfaces struct {
	mtuNow func(name string) int // 0: there is none; nil asks the kernel

	mu      sync.Mutex // guards all below
	read    time.Time
	byIndex map[int]string
	byAddr  map[netip.Addr]string
}

// mtu of the interface with that index; 0 when there is none.
func (i *interfaces) mtu(index int, now time.Time) int {
	return i.ask(i.nameOf(index, now))
}

// mtuOf the interface that has the address; 0 when none has.
func (i *interfaces) mtuOf(ip netip.Addr, now time.Time) int {
	return i.ask(i.holderOf(ip, now))
}

func (i *interfaces) nameOf(index int, now time.Time) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refreshLocked(now)
	return i.byIndex[index]
}

func (i *interfaces) holderOf(ip netip.Addr, now time.Time) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refreshLocked(now)
	return i.byAddr[ip.Unmap().WithZone("")]
}

// towards is the MTU of the interface by which packets from one address to another
// leave. It need not be the one that has the address: that of a host which announces
// it itself is on loopback, or on a dummy. 0 is not known.
func (i *interfaces) towards(from, to netip.Addr, now time.Time) int {
	if zone := to.Zone(); zone != "" {
		return i.ask(zone)
	}
	if own := i.mtuOf(to, now); own > 0 {
		return own // no packet must leave that asks, and on loopback it would
	}
	if !to.IsLoopback() {
		if mtu := mtuTowards(from, to); mtu > 0 {
			return mtu
		}
	}
	return i.mtuOf(from, now)
}

func (i *interfaces) ask(name string) int {
	switch {
	case name == "":
		return 0
	case i.mtuNow != nil:
		return i.mtuNow(name)
	default:
		return mtuOfInterface(name)
	}
}

func (i *interfaces) refreshLocked(now time.Time) {
	if i.byIndex != nil && now.Sub(i.read) < interfacesAge {
		return
	}
	list, err := net.Interfaces()
	if err != nil {
		return
	}
	i.read, i.byIndex, i.byAddr = now, make(map[int]string), make(map[netip.Addr]string)
	for _, one := range list {
		i.byIndex[one.Index] = one.Name
		addrs, err := one.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					i.byAddr[ip.Unmap()] = one.Name
				}
			}
		}
	}
}
