package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keptCorrupt files are enough to look into what happened; a bad disk must not be
// filled with more.
const keptCorrupt = 3

// moveAside renames the database with its WAL and another program's journal, which
// would otherwise be played into the new one, and says what it is called now.
func moveAside(path string, at time.Time) (string, error) {
	aside := path + ".corrupt-" + stamp(at)
	for _, part := range []string{"-wal", "-shm", "-journal", ""} {
		if err := os.Rename(path+part, aside+part); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("move corrupt database aside: %w", err)
		}
	}
	return aside, dropOldCorrupt(path)
}

func stamp(at time.Time) string { return at.UTC().Format("20060102T150405.000Z") }

func dropOldCorrupt(path string) error {
	dir, prefix := filepath.Dir(path), filepath.Base(path)+".corrupt-"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var stamps []string // sorted by time, as the names are
	for _, e := range entries {
		if stamp, ok := strings.CutPrefix(e.Name(), prefix); ok {
			stamp, _, _ = strings.Cut(stamp, "-")
			stamps = append(stamps, stamp)
		}
	}
	slices.Sort(stamps)
	stamps = slices.Compact(stamps)
	for _, stamp := range stamps[:max(0, len(stamps)-keptCorrupt)] {
		for _, part := range []string{"", "-wal", "-shm", "-journal"} {
			if err := os.Remove(filepath.Join(dir, prefix+stamp+part)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
