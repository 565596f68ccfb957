package https

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// The stages of a poll; only those that happened are told.
const (
	stageDNS     = "dns"
	stageConnect = "connect"
	stageTLS     = "tls"
	stageTTFB    = "ttfb" // request written to first byte of the answer: holds one RTT and the peer's work
	stageBody    = "body" // named in messages; its time is total less the others
	stageTotal   = "total"
)

// run is one poll of one target.
type run struct {
	*prober
	target sdk.Target
	host   string // without brackets
	port   uint16
	addr   string
	began  time.Time
	// stage that is under way.
	stage  string
	conn   *conn
	reused bool
	stuck  atomic.Bool // see cut
	result sdk.Result
}

func (p *prober) newRun(t sdk.Target) *run {
	r := &run{prober: p, target: t, host: t.Host, port: t.Port, began: time.Now()}
	if r.port == 0 {
		r.port = defaultPort
	}
	r.result.Attributes = make(map[string]string, 8)
	r.result.Stages = make([]sdk.Stage, 0, 5)
	return r
}

// poll asks on the kept connection, if there is one, and on a new one if that
// turns out to be dead.
func (r *run) poll(ctx context.Context) error {
	ip, isLiteral, err := literal(r.host)
	if err != nil {
		return err
	}
	if isLiteral {
		r.host = ip.String()
	}
	r.addr = net.JoinHostPort(r.host, strconv.Itoa(int(r.port)))
	if r.take() {
		keep, err := r.exchange(ctx, halfOf(ctx))
		var dead noAnswer
		if !errors.As(err, &dead) || ctx.Err() != nil {
			r.finish(keep)
			return err
		}
		r.result.Attributes["kept_connection"] = "was dead"
		r.conn.close()
		r.reused = false
	}
	ips, name := []netip.Addr{ip}, ""
	if !isLiteral {
		if ips, err = r.resolve(ctx); err != nil {
			return err
		}
		name = r.host
	}
	return r.pollNew(ctx, ips, name)
}

// take takes the kept connection, unless a new one is asked for, it is old, or
// its peer is not the pinned one.
func (r *run) take() bool {
	c := r.pool.take(r.addr)
	if c == nil {
		return false
	}
	if r.target.Fresh || c.old() || checkPin(r.target.SPKI, c.key) != nil {
		c.close()
		return false
	}
	r.readers.attach(c)
	r.conn, r.reused = c, true
	return true
}

// finish tells what is known of the connection, and keeps or closes it.
func (r *run) finish(keep bool) {
	r.describe(r.conn)
	if !keep {
		r.conn.close()
		return
	}
	r.readers.detach(r.conn)
	r.pool.put(r.addr, r.conn)
}

// halfOf leaves half of the time for a new connection, in case that nothing
// comes over the kept one; zero when ctx has no end.
func halfOf(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Time{}
	}
	now := time.Now()
	return now.Add(deadline.Sub(now) / 2)
}

func (r *run) resolve(ctx context.Context) ([]netip.Addr, error) {
	r.stage = stageDNS
	began := time.Now()
	ips, err := r.dialer.names.Resolve(ctx, r.host)
	if err == nil {
		r.took(stageDNS, time.Since(began))
	}
	return ips, err
}

// exchange sends the request on r.conn and learns from the answer. until limits
// the wait for its first byte. keep tells that the connection can be used again.
func (r *run) exchange(ctx context.Context, until time.Time) (keep bool, err error) {
	stop := context.AfterFunc(ctx, func() { r.cut(r.conn.raw) })
	defer func() { keep = stop() && keep }()
	tagged, known := remembered{}, false
	if !r.target.Fresh {
		tagged, known = r.memory.get(r.addr, r.conn.key, r.began)
	}
	r.stage = stageTTFB
	ttfb, err := r.conn.send(r.request.appendTo(make([]byte, 0, 256), r.host, r.port, tagged.etag), until)
	if err != nil {
		return false, err
	}
	r.took(stageTTFB, ttfb)
	r.stage = stageBody
	resp, err := r.conn.head()
	if err != nil {
		return false, err
	}
	r.result.Attributes["http_status"] = strconv.Itoa(resp.StatusCode)
	if err := checkStatus(resp, known); err != nil {
		return false, err
	}
	info := tagged.info
	if resp.StatusCode == http.StatusOK {
		if info, err = r.fetch(ctx, resp); err != nil {
			return false, err
		}
	}
	if err := r.learn(info); err != nil {
		return false, err
	}
	return r.conn.reusable(resp), nil
}

func (r *run) took(stage string, d time.Duration) {
	r.result.Stages = append(r.result.Stages, sdk.Stage{Name: stage, Took: d})
}

// versionName is short: "1.3".
func versionName(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	default:
		return hex.EncodeToString([]byte{byte(v >> 8), byte(v)})
	}
}
