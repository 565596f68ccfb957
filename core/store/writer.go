package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// groupSize results are enough for a transaction: its cost is spread, and it is
	// over in some milliseconds.
	groupSize = 256
	// maintainEvery is how often age and size are looked at.
	maintainEvery = 10 * time.Second
	// maintainPause lets requests in between two steps of trimming.
	maintainPause = 20 * time.Millisecond
)

// request is something to be written: results, events, or what do does in the
// transaction. do may run twice: again when the group it was in failed.
type request struct {
	results []core.Result
	events  []core.Event
	do      func(context.Context, *commit) error
	done    chan error // gets exactly one
}

// submit waits until r is durable.
func (s *Store) submit(ctx context.Context, r *request) error {
	r.done = make(chan error, 1)
	if err := s.send(ctx, r); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) send(ctx context.Context, r *request) error {
	s.sending.RLock()
	defer s.sending.RUnlock()
	if s.closed {
		return ErrClosed
	}
	select {
	case s.requests <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write has do run in a transaction.
func (s *Store) write(ctx context.Context, do func(context.Context, *commit) error) error {
	return s.submit(ctx, &request{do: do})
}

// writer is the state of the one goroutine that writes; nobody else touches it.
type writer struct {
	s  *Store
	db *bun.DB
	// session of the database that all of this is known from.
	session  int64
	rowSizes rowSizes
	patience time.Duration
	paths    pathCache
	codes    codeCache
	// admitted are the nodes that are known: only they may fill the matrix.
	admitted map[core.NodeID]bool
	// tells is the probe that views came with last.
	tells string
	// tailRows of the table tail, and what chunks and roll-ups have.
	tailRows        int64
	packed, rollups size
	progress        progress
	// wanted is the hour before which chunks have to be rolled up.
	wanted  int64
	packing *packing // under way, or nil
	cutting cutting
	edges   edges
	// looked is what tailRows was when the size was looked at.
	looked int64
	// packBytes of chunks are rewritten in one step at most: all of it goes through
	// the WAL, beside what is left there of the step before.
	packBytes int
	lastPack  time.Time
	rolling   rolling
	slots     slots
	// sent is by kind the sequence number up to which no outbox row is left.
	sent map[core.RecordKind]int64
	// full says since when the limit is exceeded although nothing may go.
	full     bool
	lastTidy time.Time
	begun    begun
	// used and free are the bytes of the file's pages.
	used, free, events int64
	// files is what is open, with the log of the connections since closings of them.
	files    files
	closings int64
	// paused: the disk is full and the ballast is gone, see pause.
	paused bool
	// lastMend is when a bad file was last looked into; coldReaders, that since
	// then no connection is kept for readers.
	lastMend    time.Time
	coldReaders bool
	// gone is why the file could not be brought back to its path.
	gone error
	// writtenBack: what is at the path now is not yet open.
	writtenBack bool
	documents   documents
	// abandoned is why, once the store is being closed, nothing more can be written.
	abandoned error
}

// run writes until requests is closed and everything accepted is committed.
func (s *Store) run(w *writer) {
	defer close(s.done)
	maintain := time.NewTimer(s.o.first)
	defer maintain.Stop()
	for {
		select {
		case first, ok := <-s.requests:
			if !ok {
				return
			}
			w.commitGroup(s.gather(first))
			if w.tailRows-w.looked > w.muchTail() {
				maintain.Reset(0)
			}
		case err := <-s.alarms:
			if w.repair(context.Background(), err) {
				s.noteFault(nil)
			}
		case <-maintain.C:
			pause := s.o.every
			if w.maintain(context.Background(), s.o.Now()) {
				pause = maintainPause
			}
			maintain.Reset(pause)
		}
	}
}

// gather collects what is waiting, until there are enough results.
func (s *Store) gather(first *request) []*request {
	group, size := []*request{first}, len(first.results)
	for size < groupSize {
		select {
		case r, ok := <-s.requests:
			if !ok {
				return group
			}
			group, size = append(group, r), size+len(r.results)
		default:
			return group
		}
	}
	return group
}

// commitGroup commits the group in one transaction or, when that fails, each
// request in its own: one that cannot be written must not cost the others. When
// the database is down, none can.
func (w *writer) commitGroup(group []*request) {
	ctx := context.Background()
	if err := w.follow(ctx); err != nil {
		for _, r := range group {
			r.done <- err
		}
		return
	}
	if group = w.admit(group); len(group) == 0 {
		return
	}
	if w.abandoned != nil {
		for _, r := range group {
			r.done <- w.abandoned
		}
		return
	}
	err := w.commit(ctx, group)
	if w.s.ending() && w.s.db.down(err) {
		w.abandoned = err
	}
	if err != nil && w.mend(ctx, err) {
		if group = w.admit(group); len(group) == 0 {
			return
		}
		err = w.commit(ctx, group)
	}
	w.noteCommit(group, err)
	if err == nil || len(group) == 1 || w.s.db.down(err) {
		for _, r := range group {
			r.done <- err
		}
		return
	}
	for _, r := range group {
		w.commitGroup([]*request{r})
	}
}
