//go:build !windows

package store

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the lock of f without waiting; held tells that another process
// has it. The lock ends with the process, however that ends.
func lockFile(f *os.File) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), err
}

// lockDatabase takes all of SQLite's locks of a database file without waiting;
// held tells that another process has one. They end when f, or any other
// description of the file in this process, is closed.
func lockDatabase(f *os.File) (held bool, err error) {
	all := &syscall.Flock_t{Type: syscall.F_WRLCK, Start: databaseLocks, Len: databaseLocksLen}
	err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, all)
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES), err
}
