package cmd

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestDropPages(t *testing.T) {
	before := programKiB(t)
	dropPages()
	if after := programKiB(t); before == 0 || after >= before {
		t.Errorf("%d KiB of the program are mapped, were %d", after, before)
	}
}

// programKiB is what is resident of the program's code and constants.
func programKiB(t *testing.T) (sum int) {
	t.Helper()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	counts := false
	for line := range strings.Lines(string(text)) {
		if start, end, ok := mapping(strings.TrimSuffix(line, "\n"), program); ok {
			counts = start < end
		} else if f := strings.Fields(line); counts && f[0] == "Rss:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			sum += kib
		}
	}
	return sum
}

func TestMapping(t *testing.T) {
	const program = "/usr/bin/node probe"
	for _, c := range []struct {
		line       string
		start, end uintptr
		ok         bool
	}{
		{"00400000-0119f000 r-xp 00000000 fe:00 1 " + strings.Repeat(" ", 20) + program, 0x400000, 0x119f000, true},
		{"0119f000-0203e000 r--p 00d9f000 fe:00 1  " + program, 0x119f000, 0x203e000, true},
		{"0203e000-020f4000 rw-p 01c3e000 fe:00 1  " + program, 0, 0, true},
		{"00400000-0119f000 r-xp 00000000 fe:00 1  /lib/libc.so.6", 0, 0, true},
		{"c000000000-c000400000 rw-p 00000000 00:00 0 ", 0, 0, true},
		{"Rss:                 4 kB", 0, 0, false},
		{"VmFlags: rd ex mr mw me", 0, 0, false},
	} {
		if start, end, ok := mapping(c.line, program); start != c.start || end != c.end || ok != c.ok {
			t.Errorf("%q: got %#x-%#x %v", c.line, start, end, ok)
		}
	}
}
