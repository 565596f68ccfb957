package sdk

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

// maxLearnedBytes bounds what is learned in one run, maxBatchBytes what is sent in
// one message, unless it is a single result: both stay far below MaxMessageBytes.
const (
	maxLearnedBytes = 1 << 20
	maxBatchBytes   = 1 << 20
)

// session is one stream of jobs and results.
type session struct {
	results chan []byte
	beats   chan uint64
	done    chan struct{} // no more answers are awaited
	held    []byte        // the next to be sent; nil: none

	mu       sync.Mutex // guards below
	runs     map[uint64]*run
	awaited  int // answers that are not handed to the sender yet
	draining bool
	drained  chan struct{} // closed when draining and nothing is left
}

func newSession() *session {
	return &session{
		results: make(chan []byte, MaxBatch), beats: make(chan uint64, 8), done: make(chan struct{}),
		runs: map[uint64]*run{}, drained: make(chan struct{}),
	}
}

// add registers a job and starts its clock; the id must not be in flight already.
func (s *session) add(r *run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs[r.id] != nil {
		return fmt.Errorf("job %d is in flight already", r.id)
	}
	s.runs[r.id] = r
	s.awaited++
	r.arm()
	return nil
}

func (s *session) cancel(ids []uint64) {
	for _, id := range ids {
		s.mu.Lock()
		r := s.runs[id]
		s.mu.Unlock()
		if r != nil {
			r.stop()
		}
	}
}

// cancelAll ends all runs of a host that is gone.
func (s *session) cancelAll() {
	s.mu.Lock()
	ids := make([]uint64, 0, len(s.runs))
	for id := range s.runs {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	s.cancel(ids)
}

// answer hands a run's result to the sender, or drops it when the host is gone.
func (s *session) answer(id uint64, message []byte) {
	s.mu.Lock()
	delete(s.runs, id) // first: a host that has its answer may use the id again
	s.mu.Unlock()
	s.reply(message)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaited--
	s.drainedLocked()
}

func (s *session) reply(message []byte) {
	select {
	case s.results <- message:
	case <-s.done:
	}
}

// drain returns when all runs are answered, or ctx ends.
func (s *session) drain(ctx context.Context) {
	s.mu.Lock()
	s.draining = true
	s.drainedLocked()
	s.mu.Unlock()
	select {
	case <-s.drained:
	case <-ctx.Done():
	}
}

func (s *session) drainedLocked() {
	if s.draining && s.awaited == 0 {
		s.draining = false
		close(s.drained)
	}
}

// beat asks for an echo. When the host does not read, the oldest is lost.
func (s *session) beat(n uint64) {
	for {
		select {
		case s.beats <- n:
			return
		default:
		}
		select {
		case <-s.beats:
		default:
		}
	}
}

// next blocks for one result or heartbeat and takes what else is there, without
// waiting: a batch costs no delay. It is nil at the end.
func (s *session) next() *batch {
	b := &batch{}
	if s.held == nil && !s.first(b) {
		return nil
	}
	for waiting := -1; waiting < len(s.results); { // runs that are as good as over come along
		waiting = len(s.results)
		runtime.Gosched()
	}
	if b.other.Heartbeat == 0 {
		select {
		case b.other.Heartbeat = <-s.beats:
		default:
		}
	}
	s.fill(b)
	return b
}

// first waits for something to send; at the end it takes what is left over.
func (s *session) first(b *batch) bool {
	select {
	case s.held = <-s.results:
		return true
	case b.other.Heartbeat = <-s.beats:
		return true
	case <-s.done:
	}
	select {
	case s.held = <-s.results:
		return true
	default:
		return false
	}
}

func (s *session) fill(b *batch) {
	size := 0
	for len(b.results) < MaxBatch {
		if s.held == nil {
			select {
			case s.held = <-s.results:
			default:
				return
			}
		}
		if size += len(s.held); size > maxBatchBytes && len(b.results) > 0 {
			return
		}
		b.results, s.held = append(b.results, s.held), nil
	}
}
