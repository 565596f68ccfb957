package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpu is CPU time, or why it is not known.
type cpu struct {
	took time.Duration
	err  error
}

// cpuTime is what this process and others have used.
func cpuTime(others ...int) cpu {
	c := cpuOf(others...)
	self, err := ownTime()
	c.took += self
	if c.err == nil {
		c.err = err
	}
	return c
}

// cpuOf is what processes have used, to the 10 ms that USER_HZ gives.
func cpuOf(pids ...int) cpu {
	var sum cpu
	for _, pid := range pids {
		fields, err := stat(pid)
		if err != nil {
			return cpu{err: err}
		}
		for _, f := range fields[11:13] { // utime and stime, proc_pid_stat(5)
			ticks, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return cpu{err: err}
			}
			sum.took += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

// stat is the fields of /proc/PID/stat after the name, which may hold anything.
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	return fields, nil
}

// family is a process and its children.
func family(pid int) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	all := []int{pid}
	for _, dir := range dirs {
		child, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if fields, err := stat(child); err == nil && fields[1] == strconv.Itoa(pid) {
			all = append(all, child)
		}
	}
	if _, err := stat(pid); err != nil {
		return nil, err
	}
	return all, nil
}

// pss is the proportional set size of a process in KiB.
func pss(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Pss:" {
			return strconv.Atoi(fields[1])
		}
	}
	return 0, fmt.Errorf("/proc/%d/smaps_rollup has no Pss", pid)
}
