package cmd

import (
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

var garbage []byte

func TestGarbageByLoad(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	synctest.Test(t, func(t *testing.T) {
		go frugal(t.Context(), 100)
		percent := func() int {
			p := debug.SetGCPercent(100)
			debug.SetGCPercent(p)
			return p
		}
		time.Sleep(frugalEvery * 3 / 2)
		if got := percent(); got != calmPercent {
			t.Errorf("calm: got %d %%, want %d", got, calmPercent)
		}
		garbage = make([]byte, 2*calmRate)
		time.Sleep(frugalEvery)
		if got := percent(); got != 100 {
			t.Errorf("under load: got %d %%, want 100", got)
		}
		time.Sleep(frugalEvery)
		if got := percent(); got != calmPercent {
			t.Errorf("calm again: got %d %%, want %d", got, calmPercent)
		}
	})
}
