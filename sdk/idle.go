package sdk

import (
	"runtime/debug"
	"sync"
	"time"
)

// Memory goes back to the system when nothing ran for idleAfter, at most once in
// freeEvery: it costs a garbage collection.
const (
	idleAfter = time.Second
	freeEvery = 30 * time.Second
)

// idler gives memory back after a burst of runs. A nil idler does nothing.
type idler struct {
	mu    sync.Mutex // guards below
	timer *time.Timer
	last  time.Time
	free  func()
}

func newIdler(free func()) *idler {
	i := &idler{free: free}
	i.timer = time.AfterFunc(idleAfter, i.release) // what starting took
	return i
}

func freeMemory() { debug.FreeOSMemory() }

func (i *idler) release() {
	i.mu.Lock()
	i.last = time.Now()
	i.mu.Unlock()
	i.free()
}

// busy says that something runs.
func (i *idler) busy() {
	if i != nil {
		i.timer.Stop()
	}
}

// rest says that nothing runs any more.
func (i *idler) rest() {
	if i == nil {
		return
	}
	i.mu.Lock()
	wait := max(idleAfter, freeEvery-time.Since(i.last))
	i.mu.Unlock()
	i.timer.Reset(wait)
}
