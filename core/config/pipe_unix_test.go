//go:build unix

package config

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// Whoever opens a pipe to read it waits for a writer, perhaps for ever.
func TestPipesAreNotWaitedFor(t *testing.T) {
	for _, name := range []string{settingsFile, seedFile, reportingFile} {
		dir := t.TempDir()
		pipe := filepath.Join(dir, name)
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadDir(t, dir)
		if got, want := messages(t, dir, err), []string{name + ": is a pipe or a device; want a file"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		ContentOf([]string{pipe}) // returns: the files are watched with it
	}
}
