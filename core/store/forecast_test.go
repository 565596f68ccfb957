package store

import (
	"testing"
	"time"
)

// The estimate is near what bench-storage measures: 100 peers with the probes
// that ship fit into the default, 1,000 do not, and what gives way is raw results first.
func TestEstimate(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		peers       int
		maxBytes    int64
		raw, rollup time.Duration
	}{
		{0, 0, day, 30 * day},
		{100, 0, day, 30 * day},
		{100, 7_000_000, 8 * time.Hour, 30 * day},
		{1000, 0, time.Hour, 2 * day},
		{1000, 64_000_000, 5 * time.Hour, 30 * day},
	} {
		f := Estimate(tt.peers, simIntervals, Options{MaxBytes: tt.maxBytes})
		if f.Raw.Round(time.Hour) > tt.raw+2*time.Hour || f.Raw.Round(time.Hour) < tt.raw-2*time.Hour || f.Rollup.Round(day) != tt.rollup {
			t.Errorf("%d peers in %d bytes: got %+v (%s, %s), want %s, %s", tt.peers, tt.maxBytes, f, f.Raw, f.Rollup, tt.raw, tt.rollup)
		}
	}
	if f := Estimate(100, simIntervals, Options{}); f.RawPerDay < 4_000_000 || f.RawPerDay > 4_300_000 || f.RollupPerDay < 110_000 || f.RollupPerDay > 130_000 {
		t.Errorf("100 peers: got %+v", f)
	}
}
