package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// ErrClosed is returned by every write after Close.
var ErrClosed = errors.New("the store is closed")

// The defaults of Options.
const (
	DefaultMaxBytes = 10_000_000
	DefaultRaw      = 24 * time.Hour
	DefaultRollup   = 30 * 24 * time.Hour
)

// minMaxBytes leaves room for the tables, the WAL and some history.
const minMaxBytes = 1_000_000

// Options says what to open. Zero fields but Path and Self mean the defaults.
type Options struct {
	// Path of the database; its directory is made if need be.
	Path string
	// DSN is the URL of a PostgreSQL database to use instead of a file at Path,
	// which then is only locked.
	DSN string
	// Lock of Path, as TakeLock gives it; nil: Open takes it. The store closes it,
	// also when Open fails.
	Lock *os.File
	// Self is the source of the node's own paths.
	Self core.NodeID
	Log  hclog.Logger
	// MaxBytes bounds the file and its WAL together; at least 1,000,000.
	MaxBytes int64
	// Raw is how long results are kept, Rollup how long hourly sums of them.
	Raw, Rollup time.Duration
	// Records makes what goes to the reporters, in the transaction of what it is
	// made of. It is called from the writer and must not call the store. Seq is
	// given by the store.
	Records func([]core.Result, []core.Event) []core.Record
	// Dropped is told what goes before its time because of MaxBytes, step by step.
	// It is called from the writer and must not call the store.
	Dropped func(Drop)
	// Now is the clock, time.Now by default.
	Now func() time.Time

	// first is how long it is to the first look at age and size, every from one to
	// the next.
	first, every time.Duration
}

// Store is an open database. All methods may be called concurrently. Those that
// write return when the data is durable; when ctx ends before, the data may or
// may not be written.
type Store struct {
	o        Options
	db       database
	writer   *bun.DB
	reader   *bun.DB
	lock     *os.File
	requests chan *request
	alarms   chan error    // that the file is corrupt, from readers
	closing  chan struct{} // Close was called
	done     chan struct{} // the writer has ended
	tails    tails

	sending sync.RWMutex // held to send; guards closed
	closed  bool

	// closings counts dropConns: what is open then has a log of its own.
	closings atomic.Int64

	mu    sync.Mutex // guards what follows
	stats Stats
	fault error // of the last commit
	// dropped counts rows by kind of Drop, drops is when the last went; happened
	// counts mishaps.
	dropped  map[string]uint64
	drops    map[string]time.Time
	happened uint64
	// recovered is where a corrupt database is, mishaps what onMishap was not told.
	recovered string
	mishaps   []Mishap
	onMishap  func(Mishap)
}

// Open opens or makes the database. Errors: ErrLocked when another process uses
// it; otherwise one sentence that names the directory or file. A corrupt file
// is moved aside, and a new one made with what can be read of it: see OnMishap.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	lock := o.Lock
	if lock == nil {
		var err error
		if lock, err = TakeLock(o.Path); err != nil {
			return nil, err
		}
	}
	s := &Store{o: o, lock: lock, requests: make(chan *request, 64), alarms: make(chan error, 1), closing: make(chan struct{}), done: make(chan struct{}), tails: tails{byRun: map[int64][]run{}}, dropped: map[string]uint64{}, drops: map[string]time.Time{}}
	w, err := s.open(ctx)
	if err != nil {
		lock.Close()
		return nil, err
	}
	w.begin()
	go s.run(w)
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	o.MaxBytes = max(o.MaxBytes, minMaxBytes)
	if o.Raw <= 0 {
		o.Raw = DefaultRaw
	}
	if o.Rollup <= 0 {
		o.Rollup = DefaultRollup
	}
	o.Rollup = max(o.Rollup, o.Raw)
	o.first = cmp.Or(o.first, o.every, maintainPause)
	o.every = cmp.Or(o.every, maintainEvery)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func (s *Store) open(ctx context.Context) (w *writer, err error) {
	if s.db, err = s.database(); err != nil {
		return nil, err
	}
	w, err = s.load(ctx)
	if faultOf(err) != faultNone && dropBallast(s.o.Path) { // on a full disk there may be room without it
		w, err = s.load(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", s.db, err)
	}
	return w, nil
}

func (s *Store) load(ctx context.Context) (w *writer, err error) {
	if s.writer, s.reader, err = s.db.open(ctx); err != nil {
		return nil, err
	}
	if err = migrateUp(ctx, s.writer, migrationFiles, s.db.traits().migrations); err == nil {
		if w, err = s.newWriter(ctx); err == nil {
			return w, nil
		}
	}
	return nil, errors.Join(err, s.reader.Close(), s.writer.Close())
}

func (s *Store) database() (database, error) {
	if s.o.DSN == "" {
		return &sqliteDB{s: s}, nil
	}
	return newPostgres(s.o.DSN)
}

// Recovered is the path that a corrupt database was moved to since Open began;
// empty when it was sound.
func (s *Store) Recovered() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recovered
}

// ending tells that Close was called.
func (s *Store) ending() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Close commits what was accepted, and gives the file and its lock free. It does
// not wait for another program that keeps the database from being written: what
// was accepted is refused then. Writes from then on get ErrClosed.
func (s *Store) Close() error {
	s.sending.Lock()
	first := !s.closed
	s.closed = true
	if first {
		close(s.closing)
		close(s.requests)
	}
	s.sending.Unlock()
	<-s.done
	if !first {
		return nil
	}
	// The last connection plays the WAL into the file, so it must be the writer's.
	err := errors.Join(s.reader.Close(), s.writer.Close())
	s.db.closed()
	return errors.Join(err, s.lock.Close())
}
