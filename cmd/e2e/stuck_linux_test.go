package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSecondSignalEndsWhatIsStuck: a pipe stands for a disk that does not
// answer; nobody looks at the first signal then.
func TestSecondSignalEndsWhatIsStuck(t *testing.T) {
	n := newNode(t)
	if err := syscall.Mkfifo(filepath.Join(n.dir, "identity.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.launch()
	n.eventually("the node opens its key", func() error {
		_, err := os.Stat(filepath.Join(n.dir, "nodeprobe.db.lock"))
		return err
	})
	n.eventually("the node ends", func() error {
		select {
		case err := <-n.done:
			n.done <- err
			return nil
		default:
			return errors.Join(n.cmd.Process.Signal(syscall.SIGTERM), errors.New("it runs"))
		}
	})
	if status, ok := n.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("got %v, want it ended by a signal", n.cmd.ProcessState)
	}
}
