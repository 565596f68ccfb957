package plugins

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner starts every child from one OS thread that lives as long as they do.
// Linux delivers Pdeathsig when the *thread* that forked ends, and Go ends
// threads at will: a child started from any goroutine could be killed while the
// host is well.
type spawner struct {
	begin sync.Once
	end   sync.Once
	work  chan func()
	ended chan struct{}
}

func newSpawner() *spawner {
	return &spawner{work: make(chan func()), ended: make(chan struct{})}
}

// start runs cmd.Start on the spawner's thread.
func (s *spawner) start(cmd *exec.Cmd) error {
	s.begin.Do(func() { go s.run() })
	failed := make(chan error, 1)
	select {
	case s.work <- func() { failed <- cmd.Start() }:
		return <-failed
	case <-s.ended:
		return ErrStopped
	}
}

func (s *spawner) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case f := <-s.work:
			f()
		case <-s.ended:
			return
		}
	}
}

// stop ends the thread's duty. All children must be gone.
func (s *spawner) stop() { s.end.Do(func() { close(s.ended) }) }
