package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxBinary bounds what is read of a file that claims to be a plugin.
const maxBinary = 1 << 30

// openVerified opens the executable at path, refuses it when others than its
// owner may change it or its directory, and compares its SHA-256 with want
// (hexadecimal; empty: any). Execute the file returned, not path: path can
// name another file by then.
func openVerified(path, want string) (f *os.File, sum string, err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, "", plainPathError(err)
	}
	if err := checkDirectory(filepath.Dir(real)); err != nil {
		return nil, "", err
	}
	// A pipe in its place is refused below, not waited for.
	f, err = os.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", plainPathError(err)
	}
	sum, err = checkFile(f)
	if err == nil && want != "" && !strings.EqualFold(sum, want) {
		err = fmt.Errorf("sha256 of %s is %s, the settings say %s", path, sum, strings.ToLower(want))
	}
	if err != nil {
		f.Close()
		return nil, "", err
	}
	return f, sum, nil
}

func checkDirectory(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return plainPathError(err)
	}
	if loose(info) {
		return fmt.Errorf("directory %s is writable by others than its owner (mode %04o)", dir, info.Mode().Perm())
	}
	return nil
}

func checkFile(f *os.File) (sum string, err error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", f.Name())
	case loose(info):
		return "", fmt.Errorf("%s is writable by others than its owner (mode %04o)", f.Name(), info.Mode().Perm())
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, maxBinary))
	if err != nil {
		return "", plainPathError(err)
	}
	if n == maxBinary {
		return "", fmt.Errorf("%s is larger than %d bytes", f.Name(), maxBinary)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// plainPathError drops the name of the system call.
func plainPathError(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}
