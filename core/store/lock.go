package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ErrLocked: another process uses the database.
var ErrLocked = errors.New("the database is in use by another process")

// TakeLock makes the directory of path if need be and holds path+".lock" until
// the returned file is closed: it is for Options.Lock, when something else in
// the directory must not be touched by two processes either. Errors: ErrLocked
// when another process holds it; otherwise one sentence that names the
// directory.
func TakeLock(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be made: %w", dir, err)
	}
	return takeLock(path)
}

// takeLock is TakeLock in a directory that is there.
func takeLock(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s is not writable: %w", dir, err)
	}
	held, err := lockFile(f)
	switch {
	case held:
		defer f.Close()
		return nil, fmt.Errorf("%w: %s is held by nodeprobe%s; stop it, or give this one another data directory", ErrLocked, f.Name(), holder(f))
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0) // only a hint for people
	}
	return f, nil
}

// keepLock takes the lock again when its file is gone or is another one: what is
// held says nothing to others then. Errors: ErrLocked when another process was
// faster; the database is its own from then on.
func (s *Store) keepLock() error {
	name := s.o.Path + ".lock"
	info, err := s.lock.Stat()
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	if same, _ := is(name, info); same {
		return nil
	}
	lock, err := takeLock(s.o.Path)
	if err != nil {
		return fmt.Errorf("the lock file is gone: %w", err)
	}
	s.o.Log.Warn("the lock file was gone, and has been written back", "path", name)
	_ = s.lock.Close() // of a file that nobody finds
	s.lock = lock
	return nil
}

// databaseLocks is where in a database file SQLite locks: PENDING_BYTE and what
// follows, of which every program that uses the file has some locked.
const (
	databaseLocks    = 0x40000000
	databaseLocksLen = 512
)

// holder is what the lock file says of the process that holds it.
func holder(f io.ReaderAt) string {
	var b [20]byte
	n, _ := f.ReadAt(b[:], 0)
	pid := strings.TrimSpace(string(b[:n]))
	if pid == "" || strings.Trim(pid, "0123456789") != "" {
		return ""
	}
	return " (process " + pid + ")"
}
