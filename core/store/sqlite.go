package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What is particular to SQLite is in this file and in migrations/sqlite.

const (
	// readers beside the writer: each further one costs some 4 MiB once it has
	// scanned.
	readers = 2
	// readerIdle gives the memory of an unused reader back.
	readerIdle = time.Minute
	// walCheckpointPages keeps the WAL near 256 KiB: it counts into MaxBytes.
	walCheckpointPages = 64
	// vacuumPages go back to the file system in one step, 256 KiB.
	vacuumPages = 64
)

// ErrPinned is what results get at the size limit while the log is all that could
// become smaller, and somebody still reads what it was long ago.
var ErrPinned = errors.New("the database is at its size limit: a program that reads it all the time keeps its log from being used again")

// sqliteDB is a file.
type sqliteDB struct {
	s       *Store
	writer  *bun.DB
	inserts *inserts // of writer
}

func (f *sqliteDB) String() string { return f.s.o.Path }

func (f *sqliteDB) traits() traits {
	return traits{
		migrations: "migrations/sqlite",
		snapshot:   sql.TxOptions{ReadOnly: true},
		rowSizes:   rowSizes{packed: 13, tail: 20},
	}
}

// open puts a new file in the place of a corrupt one.
func (f *sqliteDB) open(ctx context.Context) (writer, reader *bun.DB, err error) {
	s := f.s
	if err := s.ready(ctx); err != nil {
		return nil, nil, err
	}
	if f.writer, reader, err = openPools(ctx, s.o.Path); err != nil {
		return nil, nil, err
	}
	f.inserts = nil
	return f.writer, reader.WithQueryHook(alarm{s}), nil
}

// ready has a sound file at the path, whose pages have seals. Nobody here has the
// file open.
func (s *Store) ready(ctx context.Context) error {
	path := s.o.Path
	if err := finishReplace(path); err != nil {
		return err
	}
	if err := s.checkEmpty(); err != nil {
		return err
	}
	if err := s.checkLog(); err != nil {
		return err
	}
	others, err := beginUse(ctx, path)
	switch {
	case errors.Is(err, errInUse):
		return err
	case ignoreNotExist(err) != nil:
		return fmt.Errorf("database is not writable: %w", err)
	}
	if others > 0 {
		s.o.Log.Warn("another program has changed the database while the node did not run", "path", path, "pages", others)
	}
	err = checkFile(ctx, path)
	if faultOf(err) == faultCorrupt {
		err = s.replace(ctx, err)
	}
	if err != nil {
		return err
	}
	return s.sealAll(ctx)
}

// checkEmpty tells of a file that was cut to nothing: one is never made so. A log
// beside it belongs to what is gone.
func (s *Store) checkEmpty() error {
	info, err := os.Stat(s.o.Path)
	if err != nil || info.Size() > 0 {
		return ignoreNotExist(err)
	}
	_, ballast := os.Stat(ballastPath(s.o.Path))
	if fileSize(s.o.Path+"-wal") == 0 && ballast != nil {
		return nil
	}
	aside, err := moveAside(s.o.Path, s.o.Now())
	if err == nil {
		s.tell(Mishap{Aside: aside, Text: "the database file was empty: a new one begins"})
	}
	return err
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sealAll gives a database of an earlier version seals: it is brought up to date
// and copied. Without room for that it stays as it is until the next start.
func (s *Store) sealAll(ctx context.Context) error {
	path := s.o.Path
	if has, err := hasSeals(path); has || err != nil {
		return err
	}
	old, reader, err := openPools(ctx, path)
	if err != nil {
		return err
	}
	err = migrateUp(ctx, old, migrationFiles, "migrations/sqlite")
	if err = errors.Join(err, reader.Close(), old.Close()); err != nil {
		return err
	}
	ready := path + salvagedSuffix
	_, err = salvage(ctx, path, ready)
	if noRoom(err) {
		s.o.Log.Warn("no room to give the database check sums: damage to it may go unseen", "path", path)
		return removeFiles(ready)
	}
	if err != nil {
		return errors.Join(err, removeFiles(ready))
	}
	return os.Rename(ready, path)
}

func (f *sqliteDB) openReader(ctx context.Context) (*bun.DB, error) {
	if _, err := os.Stat(f.s.o.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoDatabase
	}
	db, err := openPool(ctx, f.s.o.Path, 1, url.Values{
		"mode":        {"ro"},
		busyParameter: {"5000"},
		"_pragma":     {"query_only(1)", "cache_size(-2000)", "temp_store(MEMORY)"},
	})
	return db, explain(f.s.o.Path, err)
}

// explain says of an error of SQLite what it does not: why a file cannot be opened,
// and where it is damaged. The file must not be of use to this process any more, as
// SQLite loses its locks of it.
func explain(path string, err error) error {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR:
	default:
		return err
	}
	f, openErr := os.Open(path)
	if openErr != nil {
		return openErr
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory", path)
	}
	if e.Code() != sqlite3.SQLITE_IOERR_DATA {
		return err
	}
	if n := firstDamaged(f); n > 0 {
		return damaged{fmt.Sprintf("page %d of %s is damaged", n, path), err}
	}
	return damaged{"the log of " + path + " is damaged", err}
}

// damaged says of an error of SQLite what it is about.
type damaged struct {
	text string
	err  error
}

func (d damaged) Error() string { return d.text }
func (d damaged) Unwrap() error { return d.err }

// closed says that the database is complete, unless another program has it open
// still. Where that fails, the next start takes others to have had it.
func (f *sqliteDB) closed() {
	if err := endUse(f.s.o.Path); err != nil {
		f.s.o.Log.Debug("database is not marked as closed", "path", f.s.o.Path, "error", err)
	}
}

func (*sqliteDB) session() int64 { return 0 }

func (*sqliteDB) down(err error) bool { return busy(err) }

// busy tells that another program writes to the file, and keeps all others from it.
func busy(err error) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

func (f *sqliteDB) used(ctx context.Context, w *writer) (used, free int64, err error) {
	total, free, err := pages(ctx, w.db)
	return total - free, free, err
}

func (f *sqliteDB) shrink(ctx context.Context) error { return shrink(ctx, f.writer, vacuumPages) }

func (f *sqliteDB) checkpoint(ctx context.Context) error {
	_, err := checkpoint(ctx, f.writer)
	return err
}

// room is there as a rule: the log is larger than headroom only when it cannot
// begin anew.
func (f *sqliteDB) room(ctx context.Context) error {
	log, headroom := fileSize(f.s.o.Path+"-wal"), f.s.o.headroom()
	if log <= headroom || log+fileSize(f.s.o.Path) <= f.s.o.MaxBytes-headroom/2 {
		return nil
	}
	if all, err := checkpoint(ctx, f.writer); all || err != nil {
		return err
	}
	return ErrPinned
}

func (f *sqliteDB) size(context.Context) (data, log int64, err error) {
	return fileSize(f.s.o.Path), fileSize(f.s.o.Path + "-wal"), nil
}

// busyParameter is how long a connection waits for others, ms. The driver sets it
// before all that reads the file; the pragma it would set after auto_vacuum.
const busyParameter = "_busy_timeout"

// openPools opens the database at path, made if it is not there, for one writer
// and for readers. Pragmas are in the DSN: they hold for every connection that
// a pool ever makes. auto_vacuum takes effect before the first table only.
func openPools(ctx context.Context, path string) (writer, reader *bun.DB, err error) {
	writer, err = openPool(ctx, path, 1, url.Values{
		"_txlock":      {"immediate"},
		holdsParameter: {"1"},
		busyParameter:  {"5000"},
		"_auto_vacuum": {"INCREMENTAL"},
		"_pragma": {
			"journal_mode(WAL)", "synchronous(FULL)", "cache_size(-1000)", "temp_store(MEMORY)",
			fmt.Sprintf("wal_autocheckpoint(%d)", walCheckpointPages), "journal_size_limit(262144)",
		},
	})
	if err != nil {
		return nil, nil, err
	}
	reader, err = openPool(ctx, path, readers, url.Values{
		"mode":        {"ro"},
		busyParameter: {"2000"},
		"_pragma":     {"query_only(1)", "cache_size(-400)", "temp_store(MEMORY)"},
	})
	if err != nil {
		writer.Close()
		return nil, nil, err
	}
	reader.SetConnMaxIdleTime(readerIdle)
	return writer, reader, nil
}

func openPool(ctx context.Context, path string, conns int, query url.Values) (*bun.DB, error) {
	if err := register(); err != nil {
		return nil, err
	}
	return openPoolIn(ctx, vfsName, path, conns, query)
}

// openPoolIn opens a database in a file system; empty: that of SQLite's own.
func openPoolIn(ctx context.Context, vfs, path string, conns int, query url.Values) (*bun.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if vfs != "" {
		query.Set("vfs", vfs)
	}
	slashed := filepath.ToSlash(abs)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // C:/data
	}
	pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: slashed}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	if err := pool.PingContext(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return bun.NewDB(pool, sqlitedialect.New()), nil
}

// errCorrupt: the file is not a sound database.
var errCorrupt = errors.New("database is corrupt")

// checkFile reads the whole database: nil, an error that wraps errCorrupt, or
// another one. A file that is missing or empty is sound.
func checkFile(ctx context.Context, path string) error {
	if err := sealNew(path); err != nil {
		return fmt.Errorf("database is not writable: %w", err)
	}
	db, err := openPool(ctx, path, 1, url.Values{busyParameter: {"5000"}, "_pragma": {"cache_size(-400)"}})
	if err == nil {
		err = soundBy(ctx, db, "quick_check")
		err = errors.Join(err, db.Close())
	}
	if faultOf(err) == faultCorrupt && !errors.Is(err, errCorrupt) {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return err
}

// soundBy wants the one row "ok" of quick_check or integrity_check: damage is told
// as text, without an error.
func soundBy(ctx context.Context, db *bun.DB, check string) error {
	var said string
	if err := db.QueryRowContext(ctx, "PRAGMA "+check+"(1)").Scan(&said); err != nil {
		return err
	}
	if said != "ok" {
		return fmt.Errorf("%w: %.200s", errCorrupt, strings.TrimPrefix(said, "*** in database main ***\n"))
	}
	return nil
}

// pages counts those in the file and those of them that are free, in bytes.
func pages(ctx context.Context, db *bun.DB) (total, free int64, err error) {
	var size int64
	err = db.QueryRowContext(ctx, "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").
		Scan(&total, &free, &size)
	return total * size, free * size, err
}

// shrink gives up to n free pages back to the file system. The first pragma
// frees one page per row that is read, the file is cut by the checkpoint.
func shrink(ctx context.Context, db *bun.DB, n int) error {
	if err := drain(db.QueryContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", n))); err != nil {
		return fmt.Errorf("shrink: %w", err)
	}
	_, err := checkpoint(ctx, db)
	return err
}

// checkpoint has the next transaction begin the WAL anew, unless somebody reads:
// a large one would otherwise come on top of what is there. It tells whether all
// of the WAL is in the file.
func checkpoint(ctx context.Context, db *bun.DB) (all bool, err error) {
	var busy, pages, done int64
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &done); err != nil {
		return false, fmt.Errorf("checkpoint: %w", err)
	}
	return pages == done, nil
}

// drain reads rows to their end.
func drain(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
