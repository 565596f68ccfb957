package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// The test binary is also the process whose memory BenchmarkMemory measures.
const envMemory = "NODEPROBE_TEST_MEMORY"

// BenchmarkMemory is what a process grows by that opens the history of 100 peers
// and asks everything, over and over.
func BenchmarkMemory(b *testing.B) {
	path := filepath.Join(b.TempDir(), "nodeprobe.db")
	w := stopped(b, Options{Path: path})
	m := newMesh(b, w, 100, epoch)
	for range 25 * 6 {
		m.pass(b, 10*time.Minute)
	}
	m.hourly(b, 100, "https")
	must(b, w.s.reader.Close())
	must(b, w.s.writer.Close())
	must(b, w.s.lock.Close())
	exe, err := os.Executable()
	must(b, err)
	var grown []float64
	for b.Loop() {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), envMemory+"="+path)
		out, err := cmd.Output()
		must(b, err)
		mib, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		must(b, err)
		grown = append(grown, mib)
	}
	slices.Sort(grown) // it varies by 4 MiB with when garbage is collected
	b.ReportMetric(grown[len(grown)/2], "MiB-RSS")
}

// askAll is the other process: it prints by how many MiB it has grown.
func askAll(path string) error {
	debug.SetGCPercent(50) // both as a node does
	runtime.MemProfileRate = 0
	before, err := residentKiB()
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, err := Open(ctx, Options{Path: path, Self: node(0)})
	if err != nil {
		return err
	}
	to := epoch.Add(25 * time.Hour)
	for i := range 50 {
		_, err1 := s.Latest(ctx)
		_, err2 := s.History(ctx, core.HistoryQuery{Node: node(1 + i), Probe: "https", From: to.Add(-24 * time.Hour), To: to, Step: time.Minute})
		_, err3 := s.Percentiles(ctx, core.WindowQuery{Probe: "https", From: to.Add(-24 * time.Hour), To: to})
		matrix, err4 := s.Matrix(ctx, core.MatrixQuery{})
		var row core.MatrixRow
		for _, read := range matrix { // as the API reads it: all rows with the memory of one
			read(&row)
		}
		if err := firstOf(err1, err2, err3, err4); err != nil {
			return err
		}
	}
	after, err := residentKiB()
	fmt.Println(float64(after-before) / 1024)
	return firstOf(err, s.Close())
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func residentKiB() (int, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int
		if n, _ := fmt.Sscanf(lines.Text(), "VmRSS: %d kB", &kib); n == 1 {
			return kib, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS in %s", f.Name())
}
