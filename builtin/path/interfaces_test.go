package path

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// An MTU is that of now, though names and addresses are remembered.
func TestInterfaces(t *testing.T) {
	list, err := net.Interfaces()
	if err != nil || len(list) == 0 {
		t.Skip("no interfaces")
	}
	now, nics := time.Now(), new(interfaces)
	for _, one := range list {
		if got := nics.mtu(one.Index, now); got != one.MTU {
			t.Errorf("%s: got an MTU of %d, want %d", one.Name, got, one.MTU)
		}
	}
	lo := netip.MustParseAddr("127.0.0.1")
	was := nics.mtuOf(lo, now)
	nics.mtuNow = func(string) int { return was + 1 }
	if got := nics.mtuOf(lo, now); got != was+1 {
		t.Errorf("got an MTU of %d that has changed to %d", got, was+1)
	}
	if got := nics.mtuOf(netip.MustParseAddr("192.0.2.1"), now); got != 0 {
		t.Errorf("got an MTU of %d of no interface", got)
	}
}

// What leaves the host is told by the kernel, not by whose address it is.
func TestInterfaceTowards(t *testing.T) {
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	nics, now := new(interfaces), time.Now()
	for _, one := range list {
		addrs, err := one.Addrs()
		if err != nil || one.Flags&net.FlagUp == 0 || one.Flags&net.FlagLoopback != 0 {
			continue
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || p.IsSingleIP() || p.Addr().IsLinkLocalUnicast() {
				continue
			}
			to := p.Masked().Addr().Next()
			if to == p.Addr() {
				to = to.Next()
			}
			if got := nics.towards(p.Addr(), to, now); got != one.MTU {
				t.Errorf("from %s to %s: got %d, want %d, that of %s", p.Addr(), to, got, one.MTU, one.Name)
			}
			if got := nics.towards(p.Addr(), p.Addr(), now); got != one.MTU {
				t.Errorf("from %s to itself: got %d, want %d", p.Addr(), got, one.MTU)
			}
		}
	}
}
