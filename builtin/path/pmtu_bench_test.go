//go:build linux

package path

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// BenchmarkVerify1000 is what verifying 1,000 peers every 30 s takes of a core:
// cores_ratio, of prober and reflector in one process.
func BenchmarkVerify1000(b *testing.B) {
	r := startTestReflector(b)
	p := newTestPMTU(b, r)
	for _, nics := range []*interfaces{p.nics, r.mtus} {
		freeze(nics)
	}
	p.reflector = func(sdk.Target) (reflectorAt, bool) {
		return reflectorAt{r.port(), callerKey(testSecret, p.caller)}, true
	}
	target := sdk.Target{Host: "127.0.0.1"}
	if _, err := p.Probe(b.Context(), target); err != nil {
		b.Fatal(err)
	}
	before := cpuTime(unix.RUSAGE_SELF)
	b.ReportAllocs()
	runs := 0
	for b.Loop() {
		if runs++; runs%50 == 0 { // no caller may ask that often
			p.caller[0]++
			p.caller[1] += p.caller[0] / 255
		}
		if _, err := p.Probe(b.Context(), target); err != nil {
			b.Fatal(err)
		}
	}
	each := (cpuTime(unix.RUSAGE_SELF) - before) / time.Duration(runs)
	b.ReportMetric(each.Seconds()*1000/30, "cores_ratio")
}
