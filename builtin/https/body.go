package https

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// Limits of a body, the same as the server's, in bytes.
const (
	maxWire     = 1 << 20
	maxInflated = 4 << 20
	// A list of nodes shrinks to a fifth. What grows by more than maxRatio, after
	// the first ratioFree bytes, is made to hurt.
	maxRatio  = 50
	ratioFree = 64 << 10
	// maxPooled keeps buffers of an ordinary mesh, not of an attack.
	maxPooled = 256 << 10
)

// bodies reads and inflates bodies in buffers that it keeps.
type bodies struct {
	buffers sync.Pool // of *bytes.Buffer
	gzips   sync.Pool // of *gzip.Reader
	// slots bounds inflated bodies in memory: as many as are worked on at once.
	slots chan struct{}
}

func newBodies() *bodies {
	return &bodies{slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

func (b *bodies) buffer() *bytes.Buffer {
	if buf, ok := b.buffers.Get().(*bytes.Buffer); ok {
		return buf
	}
	return new(bytes.Buffer)
}

func (b *bodies) release(buf *bytes.Buffer) {
	if buf.Cap() <= maxPooled {
		buf.Reset()
		b.buffers.Put(buf)
	}
}

// read gives the body of resp, inflated, to use; the bytes are valid until use
// returns. It comes off the wire first, at the peer's pace; only then does it
// take a slot.
func (b *bodies) read(ctx context.Context, c *conn, resp *http.Response, use func([]byte) error) error {
	wire := b.buffer()
	defer b.release(wire)
	if err := readWire(c, resp, wire); err != nil {
		return err
	}
	switch coding := resp.Header.Get("Content-Encoding"); coding {
	case "", "identity":
		return use(wire.Bytes())
	case "gzip":
		return b.inflated(ctx, wire.Bytes(), use)
	default:
		return sdk.Fail(sdk.ReasonProtocol, "content encoding %.20q was not offered", coding)
	}
}

func readWire(c *conn, resp *http.Response, to *bytes.Buffer) error {
	if resp.ContentLength > maxWire {
		return sdk.Fail(sdk.ReasonTooLarge, "a body of %d bytes, at most %d are read", resp.ContentLength, maxWire)
	}
	c.limit.N = maxWire + maxHead
	n, err := to.ReadFrom(io.LimitReader(resp.Body, maxWire+1))
	switch {
	case n > maxWire || err != nil && c.limit.N <= 0:
		return sdk.Fail(sdk.ReasonTooLarge, "a body of more than %d bytes", maxWire)
	case err == nil || isTransport(err):
		return err
	default:
		return sdk.Fail(sdk.ReasonProtocol, "body: %.100s", err.Error())
	}
}

func (b *bodies) inflated(ctx context.Context, wire []byte, use func([]byte) error) error {
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.slots }()
	buf := b.buffer()
	defer b.release(buf)
	if err := b.inflate(wire, buf); err != nil {
		return err
	}
	return use(buf.Bytes())
}

// errBomb ends inflating.
var errBomb = errors.New("inflates without bound")

func (b *bodies) inflate(wire []byte, to *bytes.Buffer) error {
	source := bytes.NewReader(wire)
	z, ok := b.gzips.Get().(*gzip.Reader)
	var err error
	if ok {
		err = z.Reset(source)
	} else {
		z, err = gzip.NewReader(source)
	}
	if err == nil {
		defer b.gzips.Put(z)
		_, err = to.ReadFrom(&bounded{from: z, left: source.Len, wire: len(wire)})
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errBomb):
		return sdk.Fail(sdk.ReasonTooLarge, "%d bytes of gzip inflate to more than %d", len(wire), to.Len())
	default:
		return sdk.Fail(sdk.ReasonProtocol, "gzip: %.100s", err.Error())
	}
}

// bounded reads what is inflated as long as size and ratio are what they may be.
type bounded struct {
	from io.Reader
	left func() int // bytes of the wire not yet used
	wire int
	read int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.read += n
	used := b.wire - b.left()
	if b.read > maxInflated || b.read > ratioFree && b.read > maxRatio*used {
		return n, errBomb
	}
	return n, err
}
