//go:build unix

package plugins

import (
	"io/fs"
	"os"
	"syscall"
)

func ownedBySelf(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}
