package store

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes the lock of f without waiting; held tells that another process
// has it. The lock ends with the process, however that ends.
func lockFile(f *os.File) (held bool, err error) {
	const farAway = 1 << 30 // beyond the process id in the file, which stays readable
	at := &windows.Overlapped{OffsetHigh: farAway}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	return errors.Is(err, windows.ERROR_LOCK_VIOLATION), err
}

// lockDatabase takes all of SQLite's locks of a database file without waiting;
// held tells that somebody else has one. They end when f is closed.
func lockDatabase(f *os.File) (held bool, err error) {
	at := &windows.Overlapped{Offset: databaseLocks}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, databaseLocksLen, 0, at)
	return errors.Is(err, windows.ERROR_LOCK_VIOLATION), err
}
