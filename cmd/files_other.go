//go:build !unix

package cmd

import (
	"errors"
	"io/fs"
	"net"
	"os"
)

// openFiles is 0: there is no such limit here.
func openFiles() uint64 { return 0 }

// listenPrivately makes a unix socket; who may connect to it is up to the
// directory's access list.
func listenPrivately(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}
