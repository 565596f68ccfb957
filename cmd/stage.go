package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// stage is a set of parts that end together.
type stage struct {
	ctx    context.Context
	cancel context.CancelFunc
	failed chan struct{} // a part has ended on its own
	ended  sync.WaitGroup

	mu      sync.Mutex // guards below
	running map[string]bool
	errs    []error // each told once, by stop
}

func newStage(ctx context.Context) *stage {
	s := &stage{failed: make(chan struct{}, 1), running: map[string]bool{}}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// start runs a part; that it ends on its own is a failure of the node.
func (s *stage) start(name string, run func(context.Context) error) {
	s.mu.Lock()
	s.running[name] = true
	s.mu.Unlock()
	s.ended.Go(func() {
		err := run(s.ctx)
		failed := s.ctx.Err() == nil
		if failed && err == nil {
			err = errEnded
		}
		s.mu.Lock()
		delete(s.running, name)
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("%s ended: %w", name, err))
		}
		s.mu.Unlock()
		if failed {
			select {
			case s.failed <- struct{}{}:
			default:
			}
		}
	})
}

var errEnded = errors.New("it should run until the node stops")

// stop ends the parts and waits for them, until ctx ends; it returns their
// errors and the names of those that still run.
func (s *stage) stop(ctx context.Context) (errs []error, hung []string) {
	s.cancel()
	done := make(chan struct{})
	go func() {
		s.ended.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.errs), slices.Sorted(maps.Keys(s.running))
}

// stopStages stops one after the other. Once ctx has ended the later ones had
// no time: only the first that hung is told of.
func stopStages(ctx context.Context, stages ...*stage) error {
	var all []error
	var culprit error
	for _, s := range stages {
		errs, hung := s.stop(ctx)
		all = append(all, errs...)
		if len(hung) > 0 && culprit == nil {
			culprit = fmt.Errorf("the stop took longer than %s: %s did not end", stopTimeout, strings.Join(hung, ", "))
		}
	}
	return errors.Join(append(all, culprit)...)
}
