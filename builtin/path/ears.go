package path

import (
	"errors"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
)

// deafPause is how long a socket is left alone that could not be read.
const deafPause = 100 * time.Millisecond

// receiver is what ears listen to.
type receiver interface {
	receive(buf []byte, deadline time.Time) (arrival, error)
}

// ears listen to a socket for as long as it is open: that the kernel had no memory
// for a moment must not make a node deaf for ever.
type ears struct {
	log  hclog.Logger
	who  string
	deaf bool
}

// hear waits for the next arrival. ok is false when there is none, and over when the
// socket is closed.
func (e *ears) hear(s receiver, buf []byte) (a arrival, ok, over bool) {
	a, err := s.receive(buf, time.Time{})
	switch {
	case err == nil:
		if e.deaf {
			e.deaf = false
			e.log.Info("a socket can be read again", "of", e.who)
		}
		return a, true, false
	case errors.Is(err, net.ErrClosed):
		return a, false, true
	case !e.deaf:
		e.deaf = true
		e.log.Error("a socket cannot be read", "of", e.who, "error", err)
	}
	time.Sleep(deafPause)
	return a, false, false
}
