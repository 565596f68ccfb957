package https

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// maxHead is how long status line and headers of an answer may be; also how
// much the framing of chunks may add to a body.
const maxHead = 64 << 10

// request is what does not change from poll to poll.
type request struct {
	agent     string // value of User-Agent
	advertise string // value of NodeProbe-Advertise; empty: not sent
}

// newRequest takes from node what can stand in a header.
func newRequest(node sdk.NodeInfo) request {
	q := request{agent: "nodeprobe", advertise: node.Advertise}
	if node.Version != "" && isFree([]byte(node.Version)) {
		q.agent += "/" + node.Version
	}
	if strings.ContainsFunc(q.advertise, func(r rune) bool { return r <= ' ' || r > '~' }) {
		q.advertise = ""
	}
	return q
}

// appendTo writes the request for /nodeinfo of host. Nothing of it comes from
// the peer but the tag, whose syntax has been checked.
func (q request) appendTo(b []byte, host string, port uint16, etag string) []byte {
	b = append(b, "GET /nodeinfo HTTP/1.1\r\nHost: "...)
	switch {
	case port != defaultPort:
		b = append(b, net.JoinHostPort(host, strconv.Itoa(int(port)))...)
	case strings.Contains(host, ":"):
		b = append(append(append(b, '['), host...), ']')
	default:
		b = append(b, host...)
	}
	b = append(append(b, "\r\nUser-Agent: "...), q.agent...)
	if q.advertise != "" {
		b = append(append(b, "\r\nNodeProbe-Advertise: "...), q.advertise...)
	}
	if etag != "" {
		b = append(append(b, "\r\nIf-None-Match: "...), etag...)
	}
	return append(b, "\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\r\n"...)
}

// noAnswer is the error of an exchange that ended before the first byte of an
// answer: on a kept connection the peer may be quite well.
type noAnswer struct{ cause error }

func (e noAnswer) Error() string { return e.cause.Error() }
func (e noAnswer) Unwrap() error { return e.cause }

// send writes a request and waits for the first byte of the answer; until 0
// means without limit.
func (c *conn) send(q []byte, until time.Time) (ttfb time.Duration, err error) {
	if err := c.raw.SetDeadline(until); err != nil {
		return 0, noAnswer{err}
	}
	began := time.Now()
	c.limit.N = maxHead
	if _, err := c.tls.Write(q); err != nil {
		return 0, noAnswer{err}
	}
	if _, err := c.reader.Peek(1); err != nil {
		return 0, noAnswer{err}
	}
	ttfb = time.Since(began)
	if until.IsZero() {
		return ttfb, nil
	}
	return ttfb, c.raw.SetDeadline(time.Time{})
}

// head reads status and headers.
func (c *conn) head() (*http.Response, error) {
	resp, err := http.ReadResponse(c.reader, nil)
	switch {
	case err == nil && resp.StatusCode < 200:
		return nil, sdk.Fail(sdk.ReasonProtocol, "an interim answer (%d) that nobody asked for", resp.StatusCode)
	case err == nil:
		return resp, nil
	case c.limit.N <= 0:
		return nil, sdk.Fail(sdk.ReasonTooLarge, "headers longer than %d bytes", maxHead)
	case isTransport(err):
		return nil, err
	default:
		return nil, sdk.Fail(sdk.ReasonProtocol, "not HTTP: %.100s", err.Error())
	}
}

// isTransport tells that err is about the connection, not about what came over it.
func isTransport(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// checkStatus admits 200, and 304 when a tag was sent.
func checkStatus(resp *http.Response, tagged bool) error {
	switch code := resp.StatusCode; {
	case code == http.StatusOK, code == http.StatusNotModified && tagged:
		return nil
	case code == http.StatusNotModified:
		return sdk.Fail(sdk.ReasonProtocol, "not modified, though no tag was sent")
	case code >= 300 && code < 400:
		return sdk.Fail(sdk.ReasonHTTPStatus, "status %d to %.80q, redirects are not followed", code, resp.Header.Get("Location"))
	default:
		return sdk.Fail(sdk.ReasonHTTPStatus, "status %d", code)
	}
}

// reusable tells that the next answer can follow on c: this one was read to its
// end, and nothing came behind it.
func (c *conn) reusable(resp *http.Response) bool {
	return !resp.Close && resp.ProtoAtLeast(1, 1) && c.reader.Buffered() == 0 && !c.old()
}
