//go:build unix

package cmd

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// openFiles is how many files this process may have open; 0 when that is not
// known. The Go runtime has raised it as far as it may.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) // signed on some systems
}

// listenPrivately makes a unix socket of mode 0600 that nobody else can connect to
// at any time: the data directory may be open to others, so the socket gets its
// mode in one that is not, and its name then.
func listenPrivately(path string) (net.Listener, error) {
	private := filepath.Join(filepath.Dir(path), ".admin") // with /s not longer than path
	if err := os.RemoveAll(private); err != nil {
		return nil, err
	}
	if err := os.Mkdir(private, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(private) // empty; what stays goes at the next start
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(private, "s"), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it would look for the first name
	err = os.Chmod(l.Addr().String(), 0o600)
	if err == nil {
		err = os.Rename(l.Addr().String(), path)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return &movedListener{l, path}, nil
}

// movedListener removes the socket by the name that it has now.
type movedListener struct {
	net.Listener
	path string
}

func (l *movedListener) Close() error {
	err := l.Listener.Close()
	if err == nil { // the first time: a new node may have its own there afterwards
		_ = os.Remove(l.path)
	}
	return err
}
