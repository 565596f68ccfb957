package config

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "1")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var changes atomic.Int32
		done := make(chan struct{})
		go func() {
			defer close(done)
			Watch(ctx, ContentOf([]string{a, b}), func() []string { return []string{a, b} }, time.Second, func() { changes.Add(1) })
		}()
		synctest.Wait()
		rounds := func(step string, n int, want int32) {
			t.Helper()
			time.Sleep(time.Duration(n) * time.Second)
			synctest.Wait()
			if got := changes.Load(); got != want {
				t.Errorf("%s: got %d changes, want %d", step, got, want)
			}
		}
		rounds("nothing", 5, 0)
		write(t, a, "2")
		rounds("written a moment ago", 1, 0)
		rounds("written", 1, 1)
		write(t, a, "2")
		rounds("same content", 3, 1)
		write(t, b, "")
		rounds("appeared, empty", 2, 2)
		if err := os.Remove(b); err != nil {
			t.Fatal(err)
		}
		rounds("gone", 2, 3)
		for n := range 5 {
			write(t, a, strings.Repeat("x", n))
			rounds("being written", 1, 3)
		}
		rounds("at rest", 1, 4)
		write(t, a, "y")
		rounds("changed", 1, 4)
		write(t, a, "xxxx")
		rounds("and back before it was told", 3, 4)
		cancel()
		<-done
	})
}

func TestListenError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, inUse := net.Listen("tcp", l.Addr().String())
	denied := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
	elsewhere := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)}
	for _, c := range []struct {
		err   error
		want  string
		cause error
	}{
		{inUse, "another process listens there; stop it, or choose another port with --listen: bind: address already in use", syscall.EADDRINUSE},
		{
			denied, "this user may not; choose a port from 1024 up (--listen :8443), " +
				"or allow it (setcap cap_net_bind_service=+ep on the binary): bind: permission denied", syscall.EACCES,
		},
		{
			elsewhere, "this host has no such address; choose one of its own, or all of them (--listen :8443): " +
				"bind: cannot assign requested address", syscall.EADDRNOTAVAIL,
		},
		{errors.ErrUnsupported, "unsupported operation", errors.ErrUnsupported},
	} {
		got := ListenError(":443", c.err)
		if got == nil || !errors.Is(got, c.cause) || runtime.GOOS != "windows" && got.Error() != "listen on :443: "+c.want {
			t.Errorf("got %v, want %q", got, c.want)
		}
	}
	if ListenError(":443", nil) != nil {
		t.Error("nil must stay nil")
	}
}

func TestMaxTimeout(t *testing.T) {
	if got := MaxTimeout(30 * time.Second); got != 24*time.Second {
		t.Errorf("got %s, want 24s", got)
	}
}

// What changes between loading and watching is not missed.
func TestWatchFromTheStart(t *testing.T) {
	a := filepath.Join(t.TempDir(), "a")
	write(t, a, "1")
	known := ContentOf([]string{a})
	write(t, a, "2")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		changes := 0
		Watch(ctx, known, func() []string { return []string{a} }, time.Second, func() { changes++ })
		if changes != 1 {
			t.Errorf("got %d changes, want 1", changes)
		}
	})
}
