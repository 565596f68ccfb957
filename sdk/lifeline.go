package sdk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// watchLifeline ends the process when the host is gone: the host holds the other
// end of the pipe and never writes. fd is empty when there is none.
func watchLifeline(fd string) {
	if fd == "" {
		return
	}
	n, err := strconv.Atoi(fd)
	if err != nil || n < 3 {
		fmt.Fprintf(os.Stderr, "%s: got %q, want the number of a file descriptor\n", EnvLifeline, fd)
		os.Exit(1)
	}
	if _, err := io.Copy(io.Discard, os.NewFile(uintptr(n), "lifeline")); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", EnvLifeline, err)
		os.Exit(1)
	}
	os.Exit(0)
}
