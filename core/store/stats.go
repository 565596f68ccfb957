package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// Stats is how the store stands.
type Stats struct {
	// Bytes is the size of the database file, WALBytes of its write-ahead log.
	// The sum is kept below MaxBytes. In PostgreSQL, Bytes is all tables with their
	// indexes and dead rows, WALBytes 0, and MaxBytes bounds the rows.
	Bytes, WALBytes, MaxBytes int64
	// Rows is the number of raw results kept: one per run and one per metric.
	Rows int64
	// Space is what takes the room. This and all that follows up to RawFits is
	// brought up to date every 10 s.
	Space Space
	// Oldest is the time of the oldest result kept, OldestRollup that of the
	// oldest hourly sums, OldestMatrix that of the oldest matrix; zero when there
	// is none.
	Oldest, OldestRollup, OldestMatrix time.Time
	// RawPerDay is how many bytes a day of results takes at the present rate,
	// RawFits the time for which MaxBytes has room at that rate, beside all else
	// that is kept now; 0 as long as there is nothing to tell it from.
	RawPerDay int64
	RawFits   time.Duration
	// Forecast is what fits in the long run; zero in the first three hours.
	Forecast Forecast
	// Results, Commits and Failed count since Open: results saved, transactions,
	// and transactions that failed.
	Results, Commits, Failed uint64
	// DroppedForSize counts rows that went before their time since Open, because
	// of MaxBytes; Dropped is the last of them, LastDrop when that was.
	DroppedForSize uint64
	Dropped        Drop
	LastDrop       time.Time
	// MetricsRefused counts values that were not stored because their probe has
	// too many metrics at one node.
	MetricsRefused uint64
	// Recovered is the path that a corrupt database was moved to, the last time.
	Recovered string
}

// Space is bytes of the database file, as near as they can be told: results in
// chunks, hourly sums, results that are not packed yet, the history of the
// matrix, events, pages that are free, and all else.
type Space struct{ Raw, Rollup, Tail, Matrix, Events, Free, Other int64 }

// Stats tells sizes and counts, also when nothing can be written: see Check.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	s.mu.Lock()
	st := s.stats
	s.mu.Unlock()
	st.MaxBytes, st.Recovered = s.o.MaxBytes, s.Recovered()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var err error
	if st.Bytes, st.WALBytes, err = s.db.size(ctx); err != nil {
		return Stats{}, fmt.Errorf("measure database: %w", err)
	}
	return st, nil
}

// Storage is Stats in the words of the domain.
func (s *Store) Storage(ctx context.Context) (core.Storage, error) {
	st, err := s.Stats(ctx)
	if err != nil {
		return core.Storage{}, err
	}
	all := st.storage(s.o)
	s.mu.Lock()
	defer s.mu.Unlock()
	all.Drops = maps.Clone(s.drops)
	return all, nil
}

func (st Stats) storage(o Options) core.Storage {
	return core.Storage{
		Bytes: st.Bytes + st.WALBytes, MaxBytes: st.MaxBytes, Results: st.Oldest, Sums: st.OldestRollup, Matrix: st.OldestMatrix,
		RawPerDay: st.Forecast.RawPerDay, Raw: o.Raw, RawFits: st.Forecast.Raw, Rollup: o.Rollup, RollupFits: st.Forecast.Rollup,
		Dropped: st.DroppedForSize, LastDrop: st.LastDrop,
	}
}

// Counts tells what it knows without reading.
func (s *Store) Counts() core.StorageCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return core.StorageCounts{
		Failing: s.fault != nil, Paused: errors.Is(s.fault, ErrPaused),
		Results: s.stats.Results, Commits: s.stats.Commits, Failed: s.stats.Failed, Mishaps: s.happened, Dropped: maps.Clone(s.dropped),
	}
}

// Check tells whether the database can be read and the last transaction was
// written. It is cheap.
func (s *Store) Check(ctx context.Context) error {
	s.sending.RLock()
	closed := s.closed
	s.sending.RUnlock()
	if closed {
		return ErrClosed
	}
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		return fmt.Errorf("history is not being written: %w", fault)
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if _, err := s.reader.NewSelect().Model((*pluginRow)(nil)).Column("name").Limit(1).Exists(ctx); err != nil {
		return fmt.Errorf("history cannot be read: %w", err)
	}
	return nil
}

// count changes the figures of Stats.
func (s *Store) count(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}

func (s *Store) noteFault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.fault == nil {
		s.o.Log.Error("database cannot be written", "error", err)
	}
	if err == nil && s.fault != nil {
		s.o.Log.Info("database is being written again")
	}
	s.fault = err
}

func (w *writer) noteCommit(group []*request, err error) {
	s := w.s
	if w.paused {
		s.noteFault(ErrPaused)
	} else {
		s.noteFault(err)
	}
	s.count(func(st *Stats) {
		if err != nil {
			st.Failed++
			return
		}
		st.Commits++
		st.Rows = w.tailRows + w.packed.rows
		for _, r := range group {
			st.Results += uint64(len(r.results))
		}
	})
}

// newWriter loads what the writer keeps in memory.
func (s *Store) newWriter(ctx context.Context) (w *writer, err error) {
	w = &writer{s: s, db: s.writer, session: s.db.session(), rowSizes: s.db.traits().rowSizes, patience: s.db.traits().patience}
	if err = s.db.prepare(ctx); err != nil {
		return nil, err
	}
	if w.paths, err = loadPaths(ctx, w.db); err != nil {
		return nil, err
	}
	for _, load := range []func(context.Context) error{w.loadTail, w.loadSizes, w.loadSlots, w.measureEvents} {
		if err := load(ctx); err != nil {
			return nil, err
		}
	}
	if w.codes, err = loadCodes(ctx, w.db); err != nil {
		return nil, err
	}
	if w.admitted, err = loadAdmitted(ctx, w.db); err != nil {
		return nil, err
	}
	if w.sent, err = loadKinds(ctx, w.db); err != nil {
		return nil, err
	}
	w.edges = edges{}
	w.packBytes = int(min(w.s.o.headroom()/2, mostPacking))
	s.count(func(st *Stats) { st.Rows = w.tailRows + w.packed.rows })
	if s.o.DSN == "" {
		w.files = statFiles(s.o.Path)
	}
	return w, nil
}

// reload is for a new connection: what the one before has committed last is not
// known when it broke, and somebody else may have written in between.
func (w *writer) reload(ctx context.Context) error {
	ctx, cancel := w.bounded(ctx)
	defer cancel()
	now, err := w.s.newWriter(ctx)
	if err != nil {
		return fmt.Errorf("read again: %w", err)
	}
	now.full, now.lastTidy, now.tells = w.full, w.lastTidy, w.tells
	*w = *now
	return nil
}

var _ core.ResultSaver = (*Store)(nil)
