package web

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/seahow-uk/nodeprobe/core"
)

// records is a connection that looks at the TLS records that come by it: the largest
// is what the peer's buffer becomes.
type records struct {
	net.Conn
	head    []byte
	left    int
	largest int
}

func (r *records) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		if r.left > 0 {
			skip := min(r.left, len(rest))
			r.left, rest = r.left-skip, rest[skip:]
			continue
		}
		const header = 5 // RFC 8446 section 5.1
		take := min(header-len(r.head), len(rest))
		r.head, rest = append(r.head, rest[:take]...), rest[take:]
		if len(r.head) == header {
			r.left, r.head = int(binary.BigEndian.Uint16(r.head[3:])), r.head[:0]
			r.largest = max(r.largest, r.left)
		}
	}
	return n, err
}

func TestNodeInfoComesInSmallRecords(t *testing.T) {
	f := &fakes{}
	for i := range 200 {
		f.nodes = append(f.nodes, core.Node{ID: nodeID(byte(i)), FQDN: fmt.Sprintf("node-%d.example.net", i), State: core.StateAlive})
	}
	h := start(t, f)
	var seen *records
	c := client(t)
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		seen = &records{Conn: conn}
		return seen, err
	}
	a := h.do(t, c, "GET", "/nodeinfo", "")
	if a.status != http.StatusOK || len(a.body) < 16<<10 || a.header.Get("Content-Length") != fmt.Sprint(len(a.body)) {
		t.Fatalf("got %d with %d bytes of %s", a.status, len(a.body), a.header.Get("Content-Length"))
	}
	if limit := pieceBytes + 512; seen.largest > limit {
		t.Errorf("a record of %d bytes, want %d at most", seen.largest, limit)
	}
}
