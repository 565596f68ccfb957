package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// maxSocketPath is what every system takes as the path of a unix socket.
const maxSocketPath = 103

// listenAdmin makes the admin socket, for the user of the node alone: whoever can
// connect may do everything. The lock of the data directory says that no other
// node serves it, so a socket that is there was left behind.
func listenAdmin(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("admin socket %s: the path is longer than %d bytes; choose a shorter --data-dir", path, maxSocketPath)
	}
	l, err := listenPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return l, nil
}

// serveAdmin answers on the admin socket until ctx ends.
func serveAdmin(ctx context.Context, l net.Listener, h http.Handler, log hclog.Logger) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second,
		ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Warn}),
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}
