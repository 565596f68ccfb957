//go:build unix

package plugins

import "io/fs"

// loose tells that group or world may write.
func loose(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }
