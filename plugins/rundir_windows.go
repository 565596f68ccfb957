package plugins

import "io/fs"

// ownedBySelf is always true: the temporary directory is the user's own here.
func ownedBySelf(fs.FileInfo) bool { return true }
