package cmd

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What a process does about its own memory, beside what the runtime does.
const (
	// calmPercent is how much garbage there may be, next to what is in use, while the
	// process allocates no more than calmRate bytes in frugalEvery: a collection
	// every few seconds, of a few ms.
	calmPercent = 25
	calmRate    = 256 << 10
	frugalEvery = time.Second
	// The first time that memory is given back is when the burst of the start is
	// over, then every some rounds. That is a collection more than there would be.
	firstRelease = 15
	releaseEvery = 30
)

// frugal keeps the memory of the process near what it uses, until ctx ends. Under
// load there may be busyPercent of garbage: then it counts what a collection costs,
// not what it would save.
func frugal(ctx context.Context, busyPercent int) {
	percent, allocated := busyPercent, allocatedBytes()
	debug.SetGCPercent(percent)
	tick := time.NewTicker(frugalEvery)
	defer tick.Stop()
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		before, want := allocated, calmPercent
		if allocated = allocatedBytes(); allocated-before > calmRate {
			want = busyPercent
		}
		if want != percent {
			percent = want
			debug.SetGCPercent(percent)
		}
		if round%releaseEvery == firstRelease {
			debug.FreeOSMemory()
			dropPages()
		}
	}
}

// allocatedBytes is how much was ever allocated on the heap.
func allocatedBytes() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}
