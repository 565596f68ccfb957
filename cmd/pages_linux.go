package cmd

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropPages gives the pages of the program file back: of 24 MiB that have been
// used once, at the start above all, a node goes on using half. Those come back
// from the page cache when they are touched, sixteen with one fault; all together
// that is less than a millisecond. A page that was written to would be lost: mappings
// that have any are left alone.
func dropPages() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return // nothing of this must be
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	var from, to uintptr // of the mapping whose lines come; empty: not of interest
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		line := lines.Text()
		if start, end, ok := mapping(line, program); ok {
			from, to = start, end
			continue
		}
		if strings.HasPrefix(line, "Anonymous:") && from < to {
			if strings.Fields(line)[1] == "0" {
				_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
			}
			from, to = 0, 0
		}
	}
}

// mapping reads the first line of one in smaps, proc_pid_smaps(5); start and end
// are 0 unless it is a private one of program that cannot be written to.
func mapping(line, program string) (start, end uintptr, ok bool) {
	span, rest, _ := strings.Cut(line, " ")
	first, last, ok := strings.Cut(span, "-")
	a, err1 := strconv.ParseUint(first, 16, 64)
	b, err2 := strconv.ParseUint(last, 16, 64)
	if !ok || err1 != nil || err2 != nil {
		return 0, 0, false
	}
	if (strings.HasPrefix(rest, "r-xp ") || strings.HasPrefix(rest, "r--p ")) && strings.HasSuffix(rest, " "+program) {
		return uintptr(a), uintptr(b), true
	}
	return 0, 0, true
}
