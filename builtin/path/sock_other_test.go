//go:build !linux

package path

import (
	"runtime"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
)

func TestOtherSystems(t *testing.T) {
	h := plugintest.Start(t, Plugin(), plugintest.Options{Grants: plugintest.Secrets(serviceReflector)})
	for _, probe := range []string{"pmtu", "stamp", "trace"} {
		h.Configure(probe, probe, nil)
		a := h.Run(probe, sdk.Target{Host: "127.0.0.1", Services: []sdk.Service{plugintest.Service(serviceReflector, 7, make([]byte, 32))}})
		if a.Outcome != sdk.OutcomeUnsupported || !strings.Contains(a.Message, runtime.GOOS) {
			t.Errorf("%s: got %+v, want unsupported", probe, a)
		}
	}
	if got := h.Services("pmtu"); len(got) > 0 {
		t.Errorf("got %v, want no reflector", got)
	}
}
