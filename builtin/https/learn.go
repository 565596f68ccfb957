package https

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// fetch reads the body and remembers what its sender says of itself under the
// tag of the answer.
func (r *run) fetch(ctx context.Context, resp *http.Response) (nodeInfo, error) {
	var info nodeInfo
	err := r.bodies.read(ctx, r.conn, resp, func(body []byte) (err error) {
		info, err = parseNodeInfo(body)
		return refused(err)
	})
	if err != nil {
		return nodeInfo{}, err
	}
	if info.dropped > 0 {
		r.metric("dropped_entries_count", float64(info.dropped))
	}
	r.remember(resp.Header.Get("ETag"), info)
	return info, nil
}

// refused gives the error of a parser its reason.
func refused(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTooMany):
		return sdk.Fail(sdk.ReasonTooLarge, "%w", err)
	default:
		return sdk.Fail(sdk.ReasonProtocol, "%w", err)
	}
}

func (r *run) remember(etag string, info nodeInfo) {
	if !isETag(etag) {
		r.memory.drop(r.addr)
		return
	}
	info.peers, info.view = nil, nil
	r.memory.set(remembered{addr: r.addr, key: r.conn.key, etag: etag, fetched: r.began, info: info})
}

// learn hands on what the peer says, once it is the node that was asked for.
func (r *run) learn(info nodeInfo) error {
	c := r.conn
	if r.target.NodeID != "" && info.id != r.target.NodeID && len(r.target.SPKI) == 0 {
		return sdk.Fail(sdk.ReasonIdentity, "node %s answers where %s was expected", info.id, r.target.NodeID)
	}
	if shown := hex.EncodeToString(c.key[:]); info.key != "" && info.key != shown {
		// Something between ends the TLS connection; the key proved is its own.
		r.result.Attributes["claimed_spki_sha256"] = info.key
	}
	r.result.Learned = &sdk.Learned{
		Identity: &sdk.Identity{
			NodeID: info.id, SPKI: c.key[:], FQDN: info.fqdn, Version: info.version, BootID: info.bootID,
			Port: info.port, NotBefore: c.leaf.NotBefore, NotAfter: c.leaf.NotAfter,
			Services: info.services,
		},
		Peers: info.peers,
		View:  info.view,
	}
	return nil
}

// describe adds the facts of the connection.
func (r *run) describe(c *conn) {
	a := r.result.Attributes
	a["remote_address"] = c.remote
	a["tls_version"] = versionName(c.version)
	a["reused"] = strconv.FormatBool(r.reused)
	r.metric("certificate_expiry_timestamp_seconds", float64(c.leaf.NotAfter.Unix()))
	if facts, ok := r.measure(c.raw, c.connect); ok {
		r.hint(c, facts)
	}
	r.describeSegments(c)
}

// measure takes the RTT from the kernel: it is free of the peer's service time
// and of this process's delays, which the time of connect is not.
func (r *run) measure(raw *net.TCPConn, connect time.Duration) (facts tcpFacts, ok bool) {
	facts, ok = tcpInfo(raw)
	if !ok {
		return facts, false // closed in the meantime: the run failed
	}
	if facts.retransmits >= 0 {
		r.metric("retransmits_count", float64(facts.retransmits))
	}
	r.result.RTT, r.result.Attributes["rtt_source"] = facts.minRTT, "tcp_info"
	if facts.minRTT == 0 {
		r.result.RTT, r.result.Attributes["rtt_source"] = connect, "connect"
	}
	return facts, true
}

func (r *run) metric(name string, v float64) {
	r.result.Metrics = append(r.result.Metrics, sdk.Metric{Name: name, Value: v})
}
