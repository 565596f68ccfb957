package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// longestSocketName is what go-plugin puts below the directory:
// "/plugin-dir" and "/plugin", each with up to ten random digits.
const longestSocketName = len("/plugin-dir0123456789/plugin0123456789")

// longestSocketPath is sun_path less its final zero on the narrowest system (macOS).
const longestSocketPath = 103

// prepareRunDir makes the directory for sockets, private to this user, and
// removes what a killed host left there. A path too long for a socket is
// replaced by a short one under the temporary directory, always the same; an
// empty one by a new directory, which is the caller's to remove.
func prepareRunDir(dir string) (string, error) {
	if dir == "" {
		return temporaryRunDir()
	}
	if tooLong(dir) {
		sum := sha256.Sum256([]byte(dir))
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("nodeprobe-%d-%s", os.Getuid(), hex.EncodeToString(sum[:4])))
	}
	if tooLong(dir) {
		return "", errTooLong(dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("socket directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("socket directory: %w", err)
	}
	if !info.IsDir() || !ownedBySelf(info) {
		return "", fmt.Errorf("socket directory %s: want a directory that belongs to this user", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return "", fmt.Errorf("socket directory: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "plugin-dir*"))
	for _, path := range left {
		_ = os.RemoveAll(path) // what stays costs nothing but a name
	}
	return dir, err
}

func temporaryRunDir() (string, error) {
	dir, err := os.MkdirTemp("", "nodeprobe-")
	if err == nil && tooLong(dir) {
		os.Remove(dir)
		return "", errTooLong(dir)
	}
	return dir, err
}

func tooLong(dir string) bool { return len(dir)+longestSocketName > longestSocketPath }

func errTooLong(dir string) error {
	return fmt.Errorf("socket directory %s: the path is too long for a socket; want at most %d bytes", dir, longestSocketPath-longestSocketName)
}
