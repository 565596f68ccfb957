package config

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"
)

// Files are the files that Load looked at or for: what to watch. Some may not
// exist.
func (c *Config) Files() []string { return c.watched }

// Watch reads the files every so often, and calls changed when what they say is
// no longer known, or one has come or gone, and has stayed so for one
// round: a file that is just being written is left alone. Content decides, not
// time stamps, so it works on every file system and for symbolic links that
// are swapped. It returns when ctx ends.
func Watch(ctx context.Context, known Content, files func() []string, every time.Duration, changed func()) {
	last := known
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := ContentOf(files())
		if now == last && now != known {
			known = now
			changed()
		}
		last = now
	}
}

// Content stands for the names and contents of files.
type Content [sha256.Size]byte

// ContentOf reads the files. Take it when the configuration is loaded: what
// changes while the node starts is then seen by Watch.
func ContentOf(files []string) Content {
	h := sha256.New()
	for _, name := range files {
		data, err := readLimited(name)
		fmt.Fprintf(h, "%q %t %x\n", name, err == nil, sha256.Sum256(data))
	}
	return Content(h.Sum(nil))
}
