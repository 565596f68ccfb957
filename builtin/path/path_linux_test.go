package path

import (
	"bytes"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/scripts/ports"
	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
)

// startPlugin serves the plugin as a node with the key testCaller.
func startPlugin(t *testing.T) *plugintest.Harness {
	t.Helper()
	grants := plugintest.Secrets(serviceReflector)
	maps.Copy(grants, sdk.Grants{sdk.CapabilityServices: nil})
	return plugintest.Start(t, Plugin(), plugintest.Options{Node: sdk.NodeInfo{SPKI: testCaller[:]}, Grants: grants})
}

// A node measures the path to itself with all probes, as any other node does.
func TestPlugin(t *testing.T) {
	h := startPlugin(t)
	h.Configure("pmtu", "pmtu", map[string]any{"reflector": map[string]any{"port": ports.Must(1)}})
	h.Configure("stamp", "stamp", map[string]any{"count": 2})
	h.Configure("trace", "trace", nil)
	services := h.Services("pmtu")
	if len(services) != 1 || services[0].Name != serviceReflector {
		t.Fatalf("got services %v", services)
	}
	to := sdk.Target{
		Host: "127.0.0.1", Port: services[0].Port, // nobody listens there with TCP
		Services: []sdk.Service{plugintest.Service(serviceReflector, services[0].Port, testCaller[:])},
	}
	if a := h.Run("pmtu", to); a.Outcome != sdk.OutcomeSuccess || metric(a.Result, "pmtu_backward_bytes") != 65535 {
		t.Errorf("pmtu: got %+v", a)
	}
	if a := h.Run("stamp", to); a.Outcome != sdk.OutcomeSuccess || a.Result.RTT <= 0 || metric(a.Result, "loss_forward_ratio") != 0 {
		t.Errorf("stamp: got %+v", a)
	}
	a := h.Run("trace", to)
	if a.Outcome != sdk.OutcomeSuccess || metric(a.Result, "hops_count") != 1 || len(a.Result.Documents) != 1 ||
		a.Result.Documents[0].ID == "" || !bytes.Contains(a.Result.Documents[0].JSON, []byte("127.0.0.1")) {
		t.Errorf("trace: got %+v", a)
	}
	to.Services = nil
	if a := h.Run("stamp", to); a.Outcome != sdk.OutcomeUnsupported {
		t.Errorf("stamp without a reflector: got %+v", a)
	}
}

// A port that is taken when the node starts is asked for again.
func TestReflectorComesLater(t *testing.T) {
	c, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := startPlugin(t)
	h.Configure("pmtu", "pmtu", map[string]any{"reflector": map[string]any{"port": c.LocalAddr().(*net.UDPAddr).Port}})
	if got := h.Services("pmtu"); len(got) != 0 {
		t.Fatalf("got %v on a port that is taken", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(4 * listenAgain); len(h.Services("pmtu")) == 0; h.Beat() {
		if time.Now().After(end) {
			t.Fatal("got no reflector though its port is free")
		}
		time.Sleep(20 * time.Millisecond)
	}
	h.Remove("pmtu")
	if h.Beat(); len(h.Services("pmtu")) != 0 {
		t.Errorf("got %v of an instance that is gone", h.Services("pmtu"))
	}
}
