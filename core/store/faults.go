package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/uptrace/bun"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrPaused is what results get while the disk is full. What is small, as events,
// is still taken as long as the room of the ballast lasts.
var ErrPaused = errors.New("the disk is full: history is paused until there is room again")

// mendPause is the least between two attempts to open a bad file anew: each reads
// all of it.
const mendPause = 5 * time.Second

// fault is what kind of trouble an error of the database means.
type fault int

const (
	faultNone    fault = iota // none of the file's
	faultFull                 // no room
	faultCorrupt              // no sound database
	faultFile                 // of no use as it is: read-only, an I/O error, gone
)

func faultOf(err error) fault {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		if errors.Is(err, errCorrupt) {
			return faultCorrupt
		}
		return faultNone
	}
	if e.Code() == sqlite3.SQLITE_IOERR_DATA { // see readFile
		return faultCorrupt
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return faultFull
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return faultCorrupt
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL:
		return faultFile
	}
	return faultNone
}

// mend does what can be done about the error of a transaction, and tells whether
// that makes it worth another try.
func (w *writer) mend(ctx context.Context, err error) (again bool) {
	switch faultOf(err) {
	case faultFull:
		return w.pause(ctx)
	case faultCorrupt, faultFile:
		return w.repair(ctx, err)
	}
	return false
}

func (w *writer) repair(ctx context.Context, cause error) (again bool) {
	if !w.lastMend.IsZero() && time.Since(w.lastMend) < mendPause {
		return false
	}
	w.lastMend = time.Now()
	err := w.reopen(ctx)
	if err == nil {
		w.s.o.Log.Warn("database opened anew", "path", w.s.o.Path, "because", cause)
		return true
	}
	if noRoom(err) {
		return w.pause(ctx)
	}
	w.s.o.Log.Debug("database cannot be opened anew", "path", w.s.o.Path, "error", err)
	return false
}

// pause stops the taking of results and gives the room of the ballast to what is
// small, to packing and to trimming.
func (w *writer) pause(ctx context.Context) (again bool) {
	again = dropBallast(w.s.o.Path)
	if again {
		if err := drain(w.db.QueryContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")); err != nil {
			w.s.o.Log.Debug("no checkpoint on a full disk", "error", err)
		}
	}
	if !w.paused {
		w.paused, w.lastPack = true, time.Time{}
		w.s.noteFault(ErrPaused)
	}
	return again
}

// resume ends a pause when there is room again.
func (w *writer) resume() {
	if err := makeBallast(w.s.o.Path); err != nil {
		return
	}
	w.paused = false
	w.s.noteFault(nil)
}

// begin makes the ballast; on a disk without room for it, history begins paused.
func (w *writer) begin() {
	if w.s.o.DSN != "" {
		return
	}
	switch err := makeBallast(w.s.o.Path); {
	case noRoom(err):
		w.paused = true
		w.s.noteFault(ErrPaused)
	case err != nil:
		w.s.o.Log.Warn("no reserve for a full disk", "error", err)
	}
}

// admit answers those of the group that have results while those are not taken,
// and returns the others.
func (w *writer) admit(group []*request) []*request {
	if !w.paused || !slices.ContainsFunc(group, hasResults) {
		return group
	}
	if w.resume(); !w.paused {
		return group
	}
	return slices.DeleteFunc(slices.Clone(group), func(r *request) bool {
		if hasResults(r) {
			r.done <- ErrPaused
			return true
		}
		return false
	})
}

func hasResults(r *request) bool { return len(r.results) > 0 }

// files is what a database consists of, to tell whether it is still the same.
type files [3]os.FileInfo

var parts = [3]string{"", "-wal", "-shm"}

func statFiles(path string) (f files) {
	for i, part := range parts {
		f[i], _ = os.Stat(path + part)
	}
	return f
}

// is tells whether what is at name is still the same; not when it cannot be told.
func is(name string, info os.FileInfo) (same, gone bool) {
	now, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, true
	}
	return err != nil || os.SameFile(now, info), false
}

// follow makes sure that the files at the path are those that are open, and that
// no other process has got hold of them. What was deleted is written back; when
// another database was put in its place, that is used and what was there is kept
// beside it.
// As long as that fails, nothing may be written to what nobody will find.
func (w *writer) follow(ctx context.Context) error {
	path := w.s.o.Path
	if w.files[0] == nil {
		w.gone = nil
		return nil
	}
	if err := w.s.keepLock(); err != nil {
		w.gone = err
		w.s.noteFault(err)
		return err
	}
	if w.writtenBack {
		return w.renewed(ctx)
	}
	same, gone := is(path, w.files[0])
	if same {
		if same = w.sameLog(); same {
			w.gone = nil
			return nil
		}
		gone = true // what is there has not what is in the log
	}
	if !w.lastMend.IsZero() && time.Since(w.lastMend) < mendPause {
		return w.gone
	}
	w.lastMend = time.Now()
	if err := w.takeBack(ctx, gone); err != nil {
		return w.isGone(err)
	}
	return w.renewed(ctx)
}

// sameLog tells whether the log and its index are still those that are open. With
// no connection there are none, and the next one makes others.
func (w *writer) sameLog() bool {
	if n := w.s.closings.Load(); n != w.closings {
		w.closings, w.files[1], w.files[2] = n, nil, nil
	}
	all := true
	for i, part := range parts[1:] {
		file := &w.files[i+1]
		switch same, _ := is(w.s.o.Path+part, *file); {
		case w.db.Stats().OpenConnections == 0:
			*file = nil
		case *file == nil:
			*file, _ = os.Stat(w.s.o.Path + part)
		case !same:
			all = false
		}
	}
	return all
}

// renewed opens what takeBack has put at the path.
func (w *writer) renewed(ctx context.Context) error {
	w.writtenBack = true
	w.s.dropConns() // of an attempt before
	err := w.s.ready(ctx)
	if err == nil {
		err = w.renew(ctx)
	}
	return w.isGone(err)
}

func (w *writer) isGone(err error) error {
	if w.gone = nil; err != nil {
		w.gone = fmt.Errorf("the database file is gone or was replaced: %w", err)
		w.s.noteFault(w.gone)
	}
	return w.gone
}

// takeBack copies the database that is open, but no longer at its path, to its
// path or beside the one that is there now.
func (w *writer) takeBack(ctx context.Context, gone bool) error {
	s, path := w.s, w.s.o.Path
	to := path + salvagedSuffix
	if !gone {
		to = path + ".replaced-" + stamp(time.Now())
	}
	if err := removeFiles(to); err != nil {
		return err
	}
	_, err := w.db.ExecContext(ctx, "VACUUM INTO ?", to)
	if err == nil {
		err = os.Chmod(to, 0o600)
	}
	if gone && err != nil {
		return err // it may be possible later, as long as it is open
	}
	s.dropConns()
	// A log belongs to the file that is gone; another one must not be given it.
	for i, part := range parts[1:] {
		if now, err := os.Stat(path + part); err == nil && (gone || w.files[i+1] != nil && os.SameFile(now, w.files[i+1])) {
			_ = os.Remove(path + part) // the file that is there now is checked before it is used
		}
	}
	if !gone {
		s.tell(Mishap{Text: "the database file was replaced while in use: going on with the new one, what the old one had is in " + to})
		return nil
	}
	if err := os.Rename(to, path); err != nil {
		return err
	}
	s.tell(Mishap{Text: "the database file or its log was deleted while in use: all of it has been written back, nothing is lost"})
	return nil
}

// reopen opens the database anew: what the connections hold is of no use. When
// it is corrupt, a new one takes its place. On an error all is as it was.
func (w *writer) reopen(ctx context.Context) error {
	s := w.s
	err := checkFile(ctx, s.o.Path)
	if err != nil && faultOf(err) != faultCorrupt {
		return err
	}
	s.dropConns()
	if err != nil {
		if err := s.replace(ctx, err); err != nil {
			return err
		}
	}
	return w.renew(ctx)
}

// renew reads all anew from what is at the path.
func (w *writer) renew(ctx context.Context) error {
	s := w.s
	if err := migrateUp(ctx, w.db, migrationFiles, "migrations/sqlite"); err != nil {
		return err
	}
	fresh, err := s.newWriter(ctx)
	if err != nil {
		return err
	}
	fresh.paused, fresh.lastMend, fresh.coldReaders = w.paused, w.lastMend, true
	*w = *fresh
	if !w.paused {
		w.begin() // its room may have been needed
	}
	return nil
}

// dropConns closes the connections: the next ones open what is at the path then.
// Those of readers at work are closed when they are done, as long as the pool
// keeps none; see warmReaders.
func (s *Store) dropConns() {
	defer s.closings.Add(1)
	s.reader.SetMaxIdleConns(0)
	s.writer.SetMaxIdleConns(0)
	s.writer.SetMaxIdleConns(1)
}

// warmReaders lets the pool keep connections again: by now no reader has one to
// the file of before.
func (w *writer) warmReaders() {
	if w.coldReaders && time.Since(w.lastMend) > queryTimeout {
		w.coldReaders = false
		w.s.reader.SetMaxIdleConns(readers)
	}
}

// alarm has the writer look at the file when a reader found it corrupt.
type alarm struct{ s *Store }

func (alarm) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }
func (a alarm) AfterQuery(_ context.Context, e *bun.QueryEvent)                  { _ = a.s.saw(e.Err) }

// saw takes note of an error of a reader, and returns it.
func (s *Store) saw(err error) error {
	if faultOf(err) == faultCorrupt {
		select {
		case s.alarms <- err:
		default:
		}
	}
	return err
}

// Mishap is what happened to the database file.
type Mishap struct {
	// Aside is the path that a corrupt database was moved to, else empty.
	Aside string
	// Text is a sentence for people.
	Text string
}

// OnMishap has f told what happened to the file, also before this call. It must
// not block nor call the store.
func (s *Store) OnMishap(f func(Mishap)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onMishap = f
	for _, m := range s.mishaps {
		f(m)
	}
	s.mishaps = nil
}

func (s *Store) tell(m Mishap) {
	s.o.Log.Error(m.Text, "path", s.o.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happened++
	if m.Aside != "" {
		s.recovered = m.Aside
	}
	if s.onMishap == nil {
		s.mishaps = append(s.mishaps, m)
		return
	}
	s.onMishap(m)
}
