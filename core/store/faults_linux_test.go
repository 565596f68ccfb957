package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/scripts/require"
)

// smallDisk mounts a file system of so many bytes.
func smallDisk(t *testing.T, size int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	mounted(t, "tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	return dir
}

func mounted(t *testing.T, source, dir, kind string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(source, dir, kind, flags, data); err != nil {
		require.Missing(t, "root", "this needs a file system of its own: mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
}

// fill writes a file until the disk is full.
func fill(t *testing.T, dir string) (remove func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	must(t, err)
	defer f.Close()
	for _, piece := range []int{1 << 16, 512} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, piece))
		}
		if !noRoom(err) {
			t.Fatal(err)
		}
	}
	return func() { must(t, os.Remove(f.Name())) }
}

// untilPaused saves results until they are refused.
func (d *diskTest) untilPaused(t *testing.T) {
	t.Helper()
	for range 100_000 {
		err := d.save(t)
		if errors.Is(err, ErrPaused) {
			return
		}
		must(t, err)
	}
	t.Fatal("the disk is full, and results are still taken")
}

type diskTest struct {
	s      *Store
	number int
}

// save saves a few results; those that were refused before are among them.
func (d *diskTest) save(t *testing.T) error {
	t.Helper()
	var rs []core.Result
	for i := range 20 {
		rs = append(rs, result(i%4+1, uint64(d.number+i+1), epoch.Add(time.Duration(d.number+i)*200*time.Millisecond), time.Millisecond))
	}
	err := d.s.SaveResults(t.Context(), rs)
	if err == nil {
		d.number += len(rs)
	}
	return err
}

func (d *diskTest) check(t *testing.T) {
	t.Helper()
	var rows, distinct int
	must(t, d.s.reader.QueryRow("SELECT COUNT(*), COUNT(DISTINCT node_id || ts_ms) FROM poll_results").Scan(&rows, &distinct))
	if rows != d.number || distinct != d.number {
		t.Errorf("%d results, %d of them different; %d were acknowledged", rows, distinct, d.number)
	}
}

// TestFullDisk fills the disk again and again: history pauses, which is told;
// what is there can be read, what is small is still written, packing goes on;
// with room it resumes by itself.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, 6<<20)
	path := filepath.Join(dir, "data", "nodeprobe.db")
	var log bytes.Buffer
	s := open(t, Options{Path: path, every: 20 * time.Millisecond, Log: hclog.New(&hclog.LoggerOptions{Output: &log})})
	d := diskTest{s: s}
	cycles := times(4, 30)
	for cycle := range cycles {
		must(t, d.save(t))
		empty := fill(t, dir)
		d.untilPaused(t)
		if err := s.Check(t.Context()); !errors.Is(err, ErrPaused) {
			t.Errorf("cycle %d: health says %v", cycle, err)
		}
		if n := s.Counts(); !n.Paused || !n.Failing {
			t.Errorf("cycle %d: got %+v, want paused", cycle, n)
		}
		if _, err := os.Stat(ballastPath(path)); err == nil {
			t.Errorf("cycle %d: the ballast is still there", cycle)
		}
		d.check(t)
		event := core.Event{Kind: core.EventStorageProblem, Subject: "history", Message: "full", Began: epoch.Add(time.Duration(cycle) * time.Hour)}
		event.Ended = event.Began
		must(t, s.SaveEvents(t.Context(), []core.Event{event}))
		empty()
		must(t, d.save(t))
		must(t, s.Check(t.Context()))
		if info, err := os.Stat(ballastPath(path)); err != nil || info.Size() != ballastBytes {
			t.Errorf("cycle %d: no ballast after it: %v", cycle, err)
		}
		d.check(t)
	}
	events, err := s.Events(t.Context(), core.EventQuery{})
	must(t, err)
	if len(events) != cycles {
		t.Errorf("got %d events, want %d", len(events), cycles)
	}
	must(t, s.Close())
	told := strings.Count(log.String(), "database cannot be written")
	if ended := strings.Count(log.String(), "database is being written again"); told != cycles || ended != cycles {
		t.Errorf("told %d times, and %d times that it is over; want %d", told, ended, cycles)
	}
	d.s = open(t, Options{Path: path})
	d.check(t)
	t.Logf("%d full disks: %d results acknowledged, all there once, told %d times", cycles, d.number, told)
}

// TestFullDiskAtStart: a node that starts on a full disk has its history, paused.
func TestFullDiskAtStart(t *testing.T) {
	dir := smallDisk(t, 4<<20)
	path := filepath.Join(dir, "nodeprobe.db")
	d := diskTest{s: open(t, Options{Path: path})}
	for range 50 {
		must(t, d.save(t))
	}
	must(t, d.s.Close())
	empty := fill(t, dir)
	d.s = open(t, Options{Path: path, every: 20 * time.Millisecond})
	d.check(t)
	d.untilPaused(t)
	d.check(t)
	empty()
	must(t, d.save(t))
	must(t, d.s.Check(t.Context()))
	d.check(t)
}

// TestReadOnlyFileSystem: one that turns read-only is told, can be read, and is
// written again when that is over.
func TestReadOnlyFileSystem(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	path := filepath.Join(dir, "nodeprobe.db")
	s := open(t, Options{Path: path})
	d := diskTest{s: s}
	must(t, d.save(t))
	mounted(t, dir, dir, "", syscall.MS_BIND, "")
	remount := func(flags uintptr) { must(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_BIND|flags, "")) }
	remount(syscall.MS_RDONLY)
	turnReadOnly(t, s)
	if err := d.save(t); err == nil {
		t.Fatal("a read-only file was written")
	}
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "not being written") {
		t.Errorf("health says %v", err)
	}
	d.check(t)
	remount(0)
	eventually(t, func() bool { return d.save(t) == nil })
	must(t, s.Check(t.Context()))
	d.check(t)
}
