package path

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func newTestTrace(t testing.TB, env sdk.Env) *tracer {
	t.Helper()
	var c TraceConfig
	c.SetDefaults()
	p, err := newTrace(c, env)
	if err != nil {
		t.Fatal(err)
	}
	return p.(*tracer)
}

func TestTraceLoopback(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			server, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
			if err != nil {
				t.Skip(err)
			}
			defer server.Close()
			to := server.Addr().(*net.TCPAddr).AddrPort()
			reflector := startTestReflector(t)
			p := newTestTrace(t, sdk.Env{})
			p.caller = testCaller
			p.reflector = func(sdk.Target) (reflectorAt, bool) { return reflectorAt{reflector.port(), testKey}, true }
			r, err := p.Probe(t.Context(), sdk.Target{Host: ip, Port: to.Port()})
			if err != nil {
				t.Fatal(err)
			}
			if metric(r, "hops_count") != 1 || r.Attributes["reached_by"] != "udp,tcp" || r.RTT != 0 {
				t.Errorf("got %v, %v, RTT %v, want one hop, and the RTT left to others", r.Metrics, r.Attributes, r.RTT)
			}
			found := p.paths[netip.AddrPortFrom(to.Addr(), to.Port())]
			if n := found.Hops[0].Nodes; len(n) != 1 || n[0].Address != to.Addr() || n[0].Answer != "reply" || found.Hops[0].Gap {
				t.Errorf("got %+v", found.Hops)
			}
			if got := reflector.counts.answered.Load(); got < 1 {
				t.Error("the reflector was not asked")
			}
			for i, f := range found.Flows {
				if source := netip.MustParseAddrPort(f.Source); source.Port() < firstFlowPort || source.Port() >= firstFlowPort+flowPorts+portTries {
					t.Errorf("flow %d: got source %s", i, f.Source)
				}
			}
		})
	}
}

// Without a mesh there is no reflector, and perhaps nothing that listens.
func TestTraceClosedPorts(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := gone.Addr().(*net.TCPAddr).AddrPort().Port()
	gone.Close()
	r, err := newTestTrace(t, sdk.Env{}).Probe(t.Context(), sdk.Target{Host: "127.0.0.1", Port: port})
	if err != nil {
		t.Fatal(err)
	}
	if metric(r, "hops_count") != 1 || r.Attributes["reached_by"] != "udp,tcp" {
		t.Errorf("got %v, %v", r.Metrics, r.Attributes)
	}
	if len(r.Documents) != 1 {
		t.Errorf("got documents %v, want the hops", r.Documents)
	}
}

func TestTraceEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newTestTrace(t, sdk.Env{}).Probe(ctx, sdk.Target{Host: "127.0.0.1"})
	if o, r := sdk.Judge(err); o != sdk.OutcomeFailure || r != sdk.ReasonCanceled {
		t.Errorf("got %v, %s, %s", err, o, r)
	}
}

// Forged answers say nothing, whatever they claim.
func TestUDPFlowIgnoresForgeries(t *testing.T) {
	router := netip.MustParseAddr("192.0.2.1")
	f := &udpFlow{to: netip.MustParseAddrPort("127.0.0.1:9"), key: testKey, ask: request{ssid: 7}}
	now := time.Now()
	f.sent, f.asked = []time.Time{now}, []time.Time{now}
	exceeded := icmpError{what: icmpTimeExceeded, router: router}
	packet := func(r request) []byte { return r.appendTo(nil, testKey) }
	good := request{seq: 0, ssid: 7, sent: now}
	tests := []struct {
		name string
		a    arrival
		want bool
	}{
		{"good", arrival{kind: arrivalError, icmp: exceeded, payload: packet(good)}, true},
		{"good, short", arrival{kind: arrivalError, icmp: exceeded, payload: packet(good)[:16]}, true},
		{"quotes nothing", arrival{kind: arrivalError, icmp: exceeded}, true},
		{"another session", arrival{kind: arrivalError, icmp: exceeded, payload: packet(request{ssid: 8, sent: now})}, false},
		{"another time", arrival{kind: arrivalError, icmp: exceeded, payload: packet(request{ssid: 7, sent: now.Add(1)})}, false},
		{"never sent", arrival{kind: arrivalError, icmp: exceeded, payload: packet(request{seq: 1, ssid: 7, sent: now})}, false},
		{"another protocol", arrival{kind: arrivalError, icmp: exceeded, payload: make([]byte, 100)}, false},
		{"of this host", arrival{kind: arrivalError, icmp: icmpError{byHost: true}, payload: packet(good)}, false},
		{"too big", arrival{kind: arrivalError, icmp: icmpError{what: icmpTooBig, router: router}, payload: packet(good)}, false},
		{"a reply", arrival{kind: arrivalPacket, payload: (&reply{ssid: 7}).appendTo(nil, testKey)}, true},
		{"a reply with another key", arrival{kind: arrivalPacket, payload: (&reply{ssid: 7}).appendTo(nil, testSecret)}, false},
		{"a reply to nothing", arrival{kind: arrivalPacket, payload: (&reply{ssid: 7, askedSeq: 9}).appendTo(nil, testKey)}, false},
	}
	for _, tt := range tests {
		if _, ok := f.read(tt.a); ok != tt.want {
			t.Errorf("%s: got taken %v, want %v", tt.name, ok, tt.want)
		}
	}
}
