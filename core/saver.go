package core

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ErrBacklogFull: results came faster than they were saved, and the oldest
// were dropped.
var ErrBacklogFull = errors.New("backlog of unsaved results is full")

const (
	// maxBacklog results wait for the store: five minutes of 100 peers and
	// three probes at 10 s, about 10 MB.
	maxBacklog = 9000
	// A result waits for others to be saved with: one fsync a second is the most
	// that results cost. enough of them do not wait.
	linger = time.Second
	enough = 256
	// maxSaved results go into one call.
	maxSaved = 1024
	// flushTimeout is what the last save gets at shutdown.
	flushTimeout = 5 * time.Second
	// A store that failed is tried again after 1 s, then twice as long.
	minRetry, maxRetry = time.Second, 30 * time.Second
)

// saver hands results to the store beside the intake, which never waits for it.
type saver struct {
	store     ResultSaver
	committed func([]Result)
	failed    func(error)
	log       hclog.Logger
	wake      chan struct{}
	closed    chan struct{}

	mu      sync.Mutex // guards what follows
	backlog []Result
	taken   []Result // in the hands of the store
	dropped uint64

	tell    sync.Mutex // orders the calls of failed, guards failing
	failing bool
}

func newSaver(store ResultSaver, committed func([]Result), failed func(error), log hclog.Logger) *saver {
	return &saver{
		store: store, committed: committed, failed: failed, log: log,
		wake: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

// add never blocks: when the backlog is full, the oldest results go, and it is told.
func (s *saver) add(rs []Result) {
	if len(rs) == 0 || s.store == nil {
		return
	}
	s.mu.Lock()
	before := len(s.backlog)
	s.backlog = append(s.backlog, rs...)
	news := before == 0 || before < enough && len(s.backlog) >= enough
	over := len(s.backlog) - maxBacklog
	if over > 0 {
		clear(s.backlog[:over])
		s.backlog = s.backlog[over:]
		s.dropped += uint64(over)
	}
	s.mu.Unlock()
	if over > 0 {
		s.report(ErrBacklogFull)
	}
	if news {
		s.rouse()
	}
}

func (s *saver) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *saver) close() { close(s.closed) }

// unsaved counts what is not committed; dropped what never will be.
func (s *saver) unsaved() (waiting int, dropped uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.backlog) + len(s.taken), s.dropped
}

// waiting is what of a path is not saved, oldest first, while nothing can be.
func (s *saver) waiting(node NodeID, probe string) []Result {
	s.tell.Lock()
	failing := s.failing
	s.tell.Unlock()
	if !failing {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var of []Result
	for _, part := range [][]Result{s.taken, s.backlog} {
		for _, r := range part {
			if r.Job.Target.Node == node && r.Job.Probe == probe {
				of = append(of, r)
			}
		}
	}
	return of
}

// run saves until close, then once more what is left.
func (s *saver) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var bound sync.WaitGroup
	defer bound.Wait()
	defer cancel()
	bound.Go(func() { // a save under way at shutdown gets the time of the flush
		<-s.closed
		select {
		case <-time.After(flushTimeout):
			cancel()
		case <-ctx.Done():
		}
	})
	for retry := minRetry; ; {
		select {
		case <-s.wake:
			s.gather()
		case <-s.closed:
			s.flush(ctx)
			return
		}
		for s.saveSome(ctx, enough) != nil {
			select {
			case <-time.After(retry):
				retry = min(2*retry, maxRetry)
			case <-s.closed:
				s.flush(ctx)
				return
			}
		}
		retry = minRetry
	}
}

// gather waits until the first result has waited long enough, there are enough,
// or no more will come.
func (s *saver) gather() {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for {
		if waiting, _ := s.unsaved(); waiting >= enough {
			return
		}
		select {
		case <-s.wake:
		case <-timer.C:
			return
		case <-s.closed:
			return
		}
	}
}

func (s *saver) flush(ctx context.Context) {
	if err := s.saveSome(ctx, 1); err != nil {
		waiting, _ := s.unsaved()
		s.log.Error("results lost at shutdown", "results", waiting, "error", err)
	}
}

// saveSome saves batches until fewer than least are left, which wait for others,
// or one fails; that one stays.
func (s *saver) saveSome(ctx context.Context, least int) error {
	for {
		batch := s.take()
		if len(batch) == 0 {
			return nil
		}
		err := s.store.SaveResults(ctx, batch)
		s.mu.Lock()
		s.taken = nil
		if err != nil {
			s.backlog = append(batch, s.backlog...)
		}
		left := len(s.backlog)
		s.mu.Unlock()
		if err != nil {
			err = fmt.Errorf("save %d results: %w", len(batch), err)
			s.report(err)
			return err
		}
		s.report(nil)
		if s.committed != nil {
			s.committed(batch)
		}
		if left < least {
			if left > 0 {
				s.rouse()
			}
			return nil
		}
	}
}

func (s *saver) take() []Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.backlog), maxSaved)
	batch := s.backlog[:n:n]
	s.backlog = s.backlog[n:]
	s.taken = batch
	return batch
}

// report tells the first failure and the recovery, not each repeat.
func (s *saver) report(err error) {
	s.tell.Lock()
	defer s.tell.Unlock()
	if (err != nil) == s.failing {
		return
	}
	s.failing = err != nil
	if s.failing {
		s.log.Warn("results are not being saved", "error", err)
	} else {
		s.log.Info("results are being saved again")
	}
	if s.failed != nil {
		s.failed(err)
	}
}
