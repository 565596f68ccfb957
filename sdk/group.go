package sdk

import (
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// Group is a [sync.WaitGroup] for the goroutines of a run. A panic in one of them,
// which would end the process and with it every probe in it, is raised again by Wait:
// in the run, where it is an error of the plugin like any other. The zero value is
// ready for use.
type Group struct {
	running sync.WaitGroup

	mu    sync.Mutex // guards first
	first *carried
}

// Go calls f in a goroutine.
func (g *Group) Go(f func()) {
	g.running.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				g.keep(p)
			}
		}()
		f()
	})
}

func (g *Group) keep(value any) {
	c, ok := value.(*carried) // of a Group within
	if !ok {
		c = &carried{value, debug.Stack()}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first == nil {
		g.first = c
	}
}

// Wait returns when all have returned; it panics with the first panic of them.
func (g *Group) Wait() {
	g.running.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first != nil {
		panic(g.first)
	}
}

// carried is a panic of another goroutine.
type carried struct {
	value any
	stack []byte
}

// Error is that of the panic.
func (c *carried) Error() string { return fmt.Sprint(c.value) }

// stackOf is where p, just recovered, was raised.
func stackOf(p any) []byte {
	if c, ok := p.(*carried); ok {
		return c.stack
	}
	return debug.Stack()
}

// Survive calls f, and logs a panic of it: for work that belongs to no run, such as
// that over a packet of a stranger, or what a timer calls. What is the work's name.
func Survive(log hclog.Logger, what string, f func()) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic", "in", what, "panic", fmt.Sprint(p), "stack", string(stackOf(p)))
		}
	}()
	f()
}
