package path

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// port that the reflector listens on.
func (r *reflector) port() uint16 { return r.sockets[0].local().Port() }

// metric of that name, or -1.
func metric(r sdk.Result, name string) float64 {
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}
