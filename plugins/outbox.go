package plugins

import (
	"context"
	"sync"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// maxUnanswered bounds the jobs whose results the engine has not collected yet:
// 1,000 peers with ten probes each, six times over.
const maxUnanswered = 1 << 16

// outbox hands results to the engine in natural batches. Streams never wait
// for the engine: they append, one goroutine passes on.
type outbox struct {
	out  chan []core.Result
	wake chan struct{}

	mu      sync.Mutex // guards below
	pending []core.Result
	open    int // jobs accepted whose result was not collected
}

func newOutbox() *outbox {
	return &outbox{out: make(chan []core.Result), wake: make(chan struct{}, 1)}
}

// reserve accepts a job; false when too many are open.
func (o *outbox) reserve() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open >= maxUnanswered {
		return false
	}
	o.open++
	return true
}

func (o *outbox) release() {
	o.mu.Lock()
	o.open--
	o.mu.Unlock()
}

// add takes results; the slice stays the caller's.
func (o *outbox) add(rs ...core.Result) {
	if len(rs) == 0 {
		return
	}
	o.mu.Lock()
	o.pending = append(o.pending, rs...)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) take() []core.Result {
	o.mu.Lock()
	defer o.mu.Unlock()
	rs := o.pending
	o.pending = nil
	return rs
}

// run passes results on until ctx ends.
func (o *outbox) run(ctx context.Context) {
	for {
		select {
		case <-o.wake:
		case <-ctx.Done():
			return
		}
		if !o.pass(ctx.Done(), o.take()) {
			return
		}
	}
}

// pass gives up, and keeps rs for flush, when stop closes.
func (o *outbox) pass(stop <-chan struct{}, rs []core.Result) bool {
	if len(rs) == 0 {
		return true
	}
	select {
	case o.out <- rs:
		o.mu.Lock()
		o.open -= len(rs)
		o.mu.Unlock()
		return true
	case <-stop:
		o.mu.Lock()
		o.pending = append(rs, o.pending...)
		o.mu.Unlock()
		return false
	}
}

// flush passes on what is left, for at most limit, and closes the channel.
func (o *outbox) flush(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	o.pass(ctx.Done(), o.take())
	close(o.out)
}
