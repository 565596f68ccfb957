package https

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"time"
)

// maxAge is how long a connection is used at most: a renewed certificate, a
// moved name and the handshake's own health are seen on new connections only.
const maxAge = 15 * time.Minute

// maxSmallAge is the same of a connection with small segments: that a black hole
// is gone is seen on one with large ones, which costs a slow poll if it is not.
const maxSmallAge = 3 * time.Minute

// keyHash is the SHA-256 of a SubjectPublicKeyInfo.
type keyHash = [sha256.Size]byte

// tcpFacts is what the kernel knows of a connection.
type tcpFacts struct {
	minRTT      time.Duration // 0: no sample
	retransmits int           // since the connection was made; -1: not told
	unacked     bool          // something sent is not acknowledged
	outOfOrder  bool          // something came before what was sent earlier
	mtu         int           // what the kernel takes for that of the path; 0: not told
	segment     int           // the largest that is sent, with options
}

// conn is a connection on which the peer has proved its key.
type conn struct {
	raw     *net.TCPConn
	tls     *tls.Conn
	limit   io.LimitedReader // over tls: what one answer may still take
	reader  *bufio.Reader    // over limit; nil while the connection is idle
	remote  string
	version uint16 // of TLS
	key     keyHash
	leaf    *x509.Certificate
	dialled time.Time
	connect time.Duration // how long the TCP handshake took
	idle    *time.Timer
	resent  int  // segments sent again until the last answer
	small   bool // its segments are
	hole    bool // and that is why it works
}

// old tells that c is not to be used again.
func (c *conn) old() bool {
	age := time.Since(c.dialled)
	return age >= maxAge || c.small && age >= maxSmallAge
}

func (c *conn) close() { _ = c.raw.Close() } // nothing is owed to the peer: all was read

// readers lends buffers to connections in use: an idle one needs none.
type readers struct{ pool sync.Pool }

func (r *readers) attach(c *conn) {
	c.limit.R = c.tls
	if b, ok := r.pool.Get().(*bufio.Reader); ok {
		b.Reset(&c.limit)
		c.reader = b
		return
	}
	c.reader = bufio.NewReader(&c.limit)
}

func (r *readers) detach(c *conn) {
	c.reader.Reset(nil)
	r.pool.Put(c.reader)
	c.reader = nil
}
