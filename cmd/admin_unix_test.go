//go:build unix

package cmd

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestAdminSocketIsNeverOpenToOthers: also in a directory that others can enter.
func TestAdminSocketIsNeverOpenToOthers(t *testing.T) {
	dir, err := os.MkdirTemp("", "np") // short: t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "admin.sock")
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if st, err := os.Stat(path); err == nil && st.Mode().Perm() != 0o600 {
				t.Errorf("the socket has mode %04o", st.Mode().Perm())
				return
			}
		}
	})
	for range 300 {
		l, err := listenAdmin(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
	close(stop)
	watching.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestAdminSocketReplacesWhatWasLeft(t *testing.T) {
	dir, err := os.MkdirTemp("", "np")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "admin.sock")
	for _, name := range []string{path, filepath.Join(dir, ".admin")} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := listenAdmin(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := listenAdmin(filepath.Join(dir, strings.Repeat("x", maxSocketPath))); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("a long path: got %v, want what to do", err)
	}
}
