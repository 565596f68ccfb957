package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seahow-uk/nodeprobe/core/config"
)

// client talks to the running node of a data directory over its admin socket.
type client struct {
	socket string
	http   http.Client
}

// adminSocket is where the node of a data directory takes its operator's calls.
func adminSocket(dataDir string) string { return filepath.Join(dataDir, "admin.sock") }

// maxAnswer bounds what the client reads: a matrix of 1,000 nodes is about 100 MB.
const maxAnswer = 256 << 20

// client reads no more of the configuration than the data directory.
func (s *settings) client() (*client, error) {
	dir, err := config.DataDir(s.source())
	if err != nil {
		return nil, err
	}
	c := &client{socket: adminSocket(dir)}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", c.socket)
		},
	}
	c.http.Timeout = time.Minute
	return c, nil
}

// get decodes the answer to GET path into out.
func (c *client) get(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, nil, out)
}

// call sends body as JSON, unless it is nil, and decodes the answer into out,
// unless that is nil. An answer other than 2xx is an *apiError.
func (c *client) call(ctx context.Context, method, path string, body, out any) error {
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, send)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return &apiError{resp.StatusCode, answer}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

func (c *client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no node is running on %s: start it with 'nodeprobe run', or name its directory with --data-dir", filepath.Dir(c.socket))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the node's admin socket %s belongs to another user: run this command as that user", c.socket)
	}
	return err
}

// apiError is an answer of the node that is not a success.
type apiError struct {
	status int
	body   []byte
}

func (e *apiError) Error() string {
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(e.body, &said) == nil && said.Error != "" {
		return said.Error
	}
	return fmt.Sprintf("the node answered %d %s", e.status, http.StatusText(e.status))
}

// decode reads the body as the answer that it would have been.
func (e *apiError) decode(out any) error { return json.Unmarshal(e.body, out) }
