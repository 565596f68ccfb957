package path

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// A peer's name leads no probe to this host or its link; an address does.
func TestNamesOfPeers(t *testing.T) {
	env := sdk.Env{Log: hclog.NewNullLogger(), Node: sdk.NodeInfo{ID: "x", Advertise: "192.0.2.1:443"}}
	prober, err := newStamp(StampConfig{Count: 2, Spacing: paceTick}, env)
	if err != nil {
		t.Fatal(err)
	}
	stamp := prober.(*stamper)
	defer stamp.Close()
	for name, r := range map[string]*resolver{"trace": &newTestTrace(t, env).names, "pmtu": &newPMTU(PMTUConfig{}, env).names, "stamp": &stamp.names} {
		for _, c := range []struct{ host, stands, want string }{
			{"peer.example", "127.0.0.1", "this host itself"},
			{"peer.example", "::1", "this host itself"},
			{"peer.example", "::ffff:127.0.0.1", "this host itself"},
			{"peer.example", "169.254.169.254", "link-local"},
			{"peer.example", "fe80::1", "link-local"},
			{"peer.example", "ff02::1", "not the address of a host"},
			{"peer.example", "0.0.0.0", "not the address of a host"},
			{"peer.example", "127.0.0.1 192.0.2.7 192.0.2.8", "192.0.2.7"},
			{"127.0.0.1", "", "127.0.0.1"},
			{"[::1]", "", "::1"},
			{"169.254.0.1", "", "169.254.0.1"},
			{"fe80::1%lo", "", "neither an IP address nor a host name"},
			{"224.0.0.1", "", "not the address of a host"},
		} {
			r.Lookup = func(context.Context, string, string) (out []netip.Addr, err error) {
				for _, s := range strings.Fields(c.stands) {
					out = append(out, netip.MustParseAddr(s))
				}
				return out, nil
			}
			got, err := r.addressOf(t.Context(), c.host)
			if err == nil && got.String() != c.want || err != nil && (got.IsValid() || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %s, %s: got %v, %v, want %s", name, c.host, c.stands, got, err, c.want)
			}
		}
	}
}

// The probes themselves refuse, not only what they ask.
func TestLocalhostOfPeer(t *testing.T) {
	node := sdk.NodeInfo{ID: "x", Advertise: "192.0.2.1:443"}
	p := newTestTrace(t, sdk.Env{Node: node})
	if _, err := p.Probe(t.Context(), sdk.Target{Host: "localhost", Port: 1}); sdk.ReasonOf(err) != sdk.ReasonDNS {
		t.Errorf("trace: got %v, want it refused", err)
	}
	if _, err := newPMTU(PMTUConfig{}, sdk.Env{Node: node}).Probe(t.Context(), sdk.Target{Host: "localhost", Port: 1}); sdk.ReasonOf(err) != sdk.ReasonDNS {
		t.Errorf("pmtu: got %v, want it refused", err)
	}
}
