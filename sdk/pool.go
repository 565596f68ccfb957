package sdk

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// maxQueued is how many jobs may wait for a place among the runs in flight. A
// host that keeps to max_in_flight never makes one wait, unless runs ignore their
// deadline.
const maxQueued = 4096

// linger is how long a worker waits for its next run. Under load it is there at
// once and finds the stack grown, a fifth of what a run costs; an idle plugin
// holds no grown stacks.
const linger = 100 * time.Millisecond

// pool runs jobs, at most limit at once.
type pool struct {
	limit int
	idle  *idler    // nil: nobody wants to know
	next  chan *run // to workers that linger

	mu      sync.Mutex // guards below
	queue   []*run
	busy    int
	stuck   int // runs that go on after they were answered for
	waiting []chan struct{}
}

func newPool(limit int) *pool { return &pool{limit: limit, next: make(chan *run)} }

// submit runs r now or later; false when too many wait.
func (p *pool) submit(r *run) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.busy < p.limit:
		if p.busy == 0 {
			p.idle.busy()
		}
		p.busy++
		select {
		case p.next <- r:
		default:
			go p.work(r)
		}
	case len(p.queue) < maxQueued:
		p.queue = append(p.queue, r)
	default:
		return false
	}
	return true
}

// work does r and what comes after it.
func (p *pool) work(r *run) {
	defer func() {
		if r != nil { // a probe ended the goroutine
			if r = p.done(); r != nil {
				go p.work(r)
			}
		}
	}()
	patience := time.NewTimer(linger)
	defer patience.Stop()
	for r != nil {
		r.do()
		if r = p.done(); r != nil {
			continue
		}
		patience.Reset(linger)
		select {
		case r = <-p.next:
		case <-patience.C:
		}
	}
}

func (p *pool) nextLocked() *run {
	if len(p.queue) == 0 {
		return nil
	}
	r := p.queue[0]
	p.queue[0] = nil
	if p.queue = p.queue[1:]; len(p.queue) == 0 {
		p.queue = nil
	}
	return r
}

// done ends a run; it returns the next one that waits, or nil.
func (p *pool) done() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.nextLocked(); r != nil {
		return r
	}
	if p.busy--; p.busy > 0 {
		return nil
	}
	p.idle.rest()
	for _, c := range p.waiting {
		close(c)
	}
	p.waiting = nil
	return nil
}

// wait returns when nothing runs, or ctx ends.
func (p *pool) wait(ctx context.Context) {
	p.mu.Lock()
	if p.busy == 0 {
		p.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	p.waiting = append(p.waiting, empty)
	p.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

func (p *pool) addStuck(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stuck += n
}

// health says whether runs ignore their deadline, and whether others can begin.
func (p *pool) health() (problem string, serves bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stuck == 0 {
		return "", true
	}
	return fmt.Sprintf("%d of %d runs in flight ignore their deadline", p.stuck, p.limit), p.stuck < p.limit
}
