package path

import (
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// reflectors are those of the process. Instances of the same port share one, as when
// an instance is replaced: the new one is made before the old one is closed, and the
// port must not be given up meanwhile.
type reflectors struct {
	counts reflectorCounts // of all there ever were

	mu     sync.Mutex // guards below
	byPort map[uint16]*sharedReflector
}

type sharedReflector struct {
	*reflector
	users int
}

// take is the reflector on port, which must not be 0, for one more user, who gives it
// back with release.
func (r *reflectors) take(port uint16, secret []byte, log hclog.Logger) (release func() error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.byPort[port]
	switch {
	case s == nil:
		one, err := startReflector(port, secret, &r.counts, log)
		if err != nil {
			return nil, err
		}
		s = &sharedReflector{reflector: one}
		if r.byPort == nil {
			r.byPort = make(map[uint16]*sharedReflector)
		}
		r.byPort[port] = s
	case string(s.secret) != string(secret):
		return nil, fmt.Errorf("the reflector on UDP port %d has another secret", port)
	}
	s.users++
	return sync.OnceValue(func() error { return r.release(port, s) }), nil
}

func (r *reflectors) release(port uint16, s *sharedReflector) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.users--; s.users > 0 {
		return nil
	}
	delete(r.byPort, port)
	return s.close()
}
