package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// The numbers that Windows gives: WSAEACCES, WSAEADDRINUSE and WSAEADDRNOTAVAIL.
const (
	winAccess  = syscall.Errno(10013)
	winInUse   = syscall.Errno(10048)
	winNotHere = syscall.Errno(10049)
)

// ListenError explains why listening on addr failed, with the remedy: the port
// needs a privilege, somebody else has it, or the address is of another host. It
// wraps the cause of err; nil stays nil.
func ListenError(addr string, err error) error {
	if at, ok := errors.AsType[*net.OpError](err); ok {
		err = at.Err // the address is in the sentence already
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, winAccess):
		return fmt.Errorf("listen on %s: this user may not; choose a port from 1024 up (--listen :8443), "+
			"or allow it (setcap cap_net_bind_service=+ep on the binary): %w", addr, err)
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, winInUse):
		return fmt.Errorf("listen on %s: another process listens there; stop it, or choose another port with --listen: %w", addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, winNotHere):
		return fmt.Errorf("listen on %s: this host has no such address; choose one of its own, or all of them (--listen :8443): %w", addr, err)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}
