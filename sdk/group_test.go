package sdk_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// A panic in a goroutine of a run costs that run alone.
func TestGroup(t *testing.T) {
	h := start(t, func(_ context.Context, to sdk.Target) (sdk.Result, error) {
		var outer, inner sdk.Group
		did := 0
		outer.Go(func() {
			inner.Go(func() {
				if to.Port == 1 {
					panic("no map")
				}
			})
			inner.Wait()
			did++
		})
		outer.Wait()
		return sdk.Result{RTT: 1, Attributes: map[string]string{"did": strings.Repeat("x", did)}}, nil
	})
	wantAnswer(t, h.Run("probe", sdk.Target{Port: 1}), sdk.OutcomePluginError, sdk.ReasonInternal, "panic: no map")
	if a := h.Run("probe", sdk.Target{}); a.Outcome != sdk.OutcomeSuccess || a.Result.Attributes["did"] != "x" {
		t.Errorf("got %+v after a panic, want a success", a)
	}
}

func TestSurvive(t *testing.T) {
	var said bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &said})
	sdk.Survive(log, "a test", func() { panic("no map") })
	if got := said.String(); !strings.Contains(got, `in="a test" panic="no map"`) || !strings.Contains(got, "TestSurvive") {
		t.Errorf("logged %q, want the panic and where it was", got)
	}
}
