package web

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// maxTurns is how many answers that read much from the store are in memory at
// once, maxTurnsEach how many of them for one network: who is slow to take his
// must not keep all others from theirs.
const (
	maxTurns     = 4
	maxTurnsEach = 2
)

// turns lets callers wait for room for an answer that needs much memory.
type turns struct {
	room chan struct{}

	mu sync.Mutex // guards by
	by map[netip.Addr]*queue
}

// queue is those of one network who wait or have their turn.
type queue struct {
	room    chan struct{}
	members int
}

func newTurns() *turns {
	return &turns{room: make(chan struct{}, maxTurns), by: map[netip.Addr]*queue{}}
}

// take waits for a turn of who; then leave must be called once. The error is
// that ctx has ended.
func (t *turns) take(ctx context.Context, who netip.Addr) (leave func(), err error) {
	q := t.join(who)
	if err := acquire(ctx, q.room); err != nil {
		t.part(who)
		return nil, err
	}
	done := func() {
		<-q.room
		t.part(who)
	}
	if err := acquire(ctx, t.room); err != nil {
		done()
		return nil, err
	}
	return func() {
		<-t.room
		done()
	}, nil
}

func (t *turns) join(who netip.Addr) *queue {
	t.mu.Lock()
	defer t.mu.Unlock()
	q, ok := t.by[who]
	if !ok {
		each := maxTurnsEach
		if who.IsLoopback() || !who.IsValid() {
			each = maxTurns
		}
		q = &queue{room: make(chan struct{}, each)}
		t.by[who] = q
	}
	q.members++
	return q
}

func (t *turns) part(who netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[who].members--; t.by[who].members == 0 {
		delete(t.by, who)
	}
}

// answerInTurn answers with what read makes of the store, as inTurn.
func (s *Server) answerInTurn(w http.ResponseWriter, r *http.Request, c caller, what string, read func(context.Context) (any, error)) {
	s.inTurn(w, r, c, what, func(ctx context.Context) error {
		out, err := read(ctx)
		if err == nil {
			writeJSON(w, http.StatusOK, out)
		}
		return err
	})
}

// inTurn has do answer out of the store when the caller's turn has come; what
// names it in the log. A caller who has gone has no turn. Who fails has not
// answered.
func (s *Server) inTurn(w http.ResponseWriter, r *http.Request, c caller, what string, do func(context.Context) error) {
	leave, err := s.turns.take(r.Context(), network(c.ip))
	if err != nil {
		retryLater(w, http.StatusServiceUnavailable, time.Second, "others are being answered")
		return
	}
	defer leave()
	err = do(r.Context())
	if u, ok := errors.AsType[unknownName](err); ok {
		writeJSON(w, http.StatusNotFound, failure{Error: u.Error(), Parameter: u.parameter})
		return
	}
	if err != nil {
		s.storeFailed(w, what, err)
	}
}

// storeFailed answers that the store could not be read.
func (s *Server) storeFailed(w http.ResponseWriter, what string, err error) {
	s.log.Warn("store not readable", "for", what, "error", err)
	failJSON(w, http.StatusServiceUnavailable, "the history cannot be read at the moment; see /health")
}
