package conformance

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk/internal/driver"
)

// How long a process may go on: nobody is left to watch it, or systemd waits.
const (
	orphanLimit = 2 * time.Second
	endLimit    = 5 * time.Second
)

// lifeline: a plugin must not outlive its host, though it has jobs in hand.
func lifeline(ctx context.Context, s *Subject) error {
	if runtime.GOOS == "windows" {
		return notApplicable("descriptors are not inherited on Windows")
	}
	return ending(ctx, s, orphanLimit, "the host is gone", func(p *process) error { return p.lifeline.Close() })
}

func sigterm(ctx context.Context, s *Subject) error {
	if runtime.GOOS == "windows" {
		return notApplicable("there is no SIGTERM on Windows")
	}
	return ending(ctx, s, endLimit, "SIGTERM", func(p *process) error { return p.cmd.Process.Signal(syscall.SIGTERM) })
}

// ending does something to a plugin with jobs in hand, after which it must exit.
func ending(ctx context.Context, s *Subject, within time.Duration, what string, do func(*process) error) error {
	p, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer p.end()
	release, err := p.busy(ctx)
	if err != nil {
		return p.explain(err)
	}
	defer release()
	if err := do(p); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if !p.exited(wait) {
		return p.explain(fmt.Errorf("it goes on %s after: %s", within, what))
	}
	return nil
}

// busy gives the plugin jobs at a silent target.
func (p *process) busy(ctx context.Context) (release func(), err error) {
	if err := p.configureAll(ctx); err != nil {
		return nil, err
	}
	if len(p.about.GetProbes()) == 0 {
		return func() {}, nil
	}
	t, end, err := silent()
	if err != nil {
		return nil, err
	}
	s, err := driver.Open(ctx, p.api)
	if err != nil {
		end()
		return nil, err
	}
	p.load(s, t, limit)
	if err := s.Beat(ctx); err != nil {
		s.Abort()
		end()
		return nil, err
	}
	return func() { s.Abort(); end() }, nil
}
