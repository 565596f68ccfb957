//go:build unix

package identity

import (
	"io/fs"
	"os"
)

// exposed tells that others than the owner may use the file.
func exposed(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }

// syncDir makes a new name in the directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
