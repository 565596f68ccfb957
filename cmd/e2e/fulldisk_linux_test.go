package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/scripts/require"
)

// TestFullDisk: with no room on its disk a node polls and serves on, says so, and
// answers with what it has in memory. With room again, that is stored.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	peer := newNode(t).start()
	n := newNode(t, peer)
	if err := syscall.Mount("tmpfs", n.dir, "tmpfs", 0, "size=4m"); err != nil {
		require.Missing(t, "root", "a disk to fill must be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(n.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	n.seed(peer)
	n.args = []string{"--interval", "1s"}
	n.start()
	n.eventually("the peer joined", func() error { return n.sees("alive", peer) })
	runs := func() (runs int, err error) {
		var h struct {
			Runs []int `json:"runs"`
		}
		err = n.get("/api/v1/nodes/"+peer.id()+"/history", &h)
		for _, r := range h.Runs {
			runs += r
		}
		return runs, err
	}
	more := func(than int) func() error {
		return func() error {
			got, err := runs()
			if err == nil && got <= than {
				err = fmt.Errorf("%d runs, want more than %d", got, than)
			}
			return err
		}
	}
	n.eventually("history", more(2))

	filler := filepath.Join(n.dir, "filler")
	n.within(2*time.Minute, "health tells that history is paused", func() error {
		if err := fillDisk(filler); err != nil {
			return err
		}
		_, out := n.run("health")
		if !strings.Contains(out, "history is paused") {
			return errors.New(out)
		}
		return nil
	})
	paused, err := runs()
	if err != nil {
		t.Fatal(err)
	}
	n.eventually("history goes on in memory", more(paused+3))
	var open eventsAnswer
	if err := n.get("/api/v1/events?kind=storage_problem&open=true", &open); err != nil || len(open.Events) != 1 || !strings.Contains(open.Events[0].Message, "disk is full") {
		t.Errorf("events: %v, %+v", err, open.Events)
	}
	if err := n.sees("alive", peer); err != nil {
		t.Error(err)
	}
	before, err := runs()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	n.within(time.Minute, "history is stored again", func() error {
		if err := n.get("/api/v1/events?kind=storage_problem&open=true", &open); err != nil || len(open.Events) > 0 {
			return fmt.Errorf("events: %w, %+v", err, open.Events)
		}
		return nil
	})
	if err := more(before - 1)(); err != nil {
		t.Errorf("what waited was not stored: %v", err)
	}
	if code := n.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	n.start()
	if err := more(before - 1)(); err != nil {
		t.Errorf("after a start: %v", err)
	}
}

func fillDisk(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, piece := range []int{1 << 16, 512} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, piece))
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return nil
}
