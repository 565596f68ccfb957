package https

import (
	"sync"
	"time"
)

// idleTimeout is less than the 75 s after which servers close a connection: who
// closes first never writes into a closed one.
const idleTimeout = 70 * time.Second

// pool keeps one idle connection per address, of at most max peers. When it is
// full the newcomer is closed, not the oldest: targets come round in turn, so
// throwing out the oldest would throw out each connection just before its use.
type pool struct {
	max     int
	timeout time.Duration

	mu     sync.Mutex // guards idle and closed
	idle   map[string]*conn
	closed bool
}

func newPool(max int) *pool {
	return &pool{max: max, timeout: idleTimeout, idle: make(map[string]*conn)}
}

// take is the idle connection to addr, which is the caller's from now on; nil
// when there is none.
func (p *pool) take(addr string) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.idle[addr]
	if c == nil {
		return nil
	}
	delete(p.idle, addr)
	c.idle.Stop()
	return c
}

// put keeps c, in the place of an older one, or closes it.
func (p *pool) put(addr string, c *conn) {
	if evicted := p.swap(addr, c); evicted != nil {
		evicted.close()
	}
}

// swap returns the connection that is left over.
func (p *pool) swap(addr string, c *conn) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.idle[addr]
	if p.closed || old == nil && len(p.idle) >= p.max {
		return c
	}
	if old != nil {
		old.idle.Stop()
	}
	p.idle[addr] = c
	if c.idle == nil {
		c.idle = time.AfterFunc(p.timeout, func() { p.expire(addr, c) })
	} else {
		c.idle.Reset(p.timeout)
	}
	return old
}

// expire closes c unless it is in use again.
func (p *pool) expire(addr string, c *conn) {
	p.mu.Lock()
	mine := p.idle[addr] == c
	if mine {
		delete(p.idle, addr)
	}
	p.mu.Unlock()
	if mine {
		c.close()
	}
}

// close ends all idle connections, and each one that is put back later.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for addr, c := range p.idle {
		c.idle.Stop()
		c.close()
		delete(p.idle, addr)
	}
}
