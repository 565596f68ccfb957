package report

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// maxRetryAfter is the longest wait that a server can ask for.
const maxRetryAfter = time.Hour

// reporter posts snapshots to one server.
type reporter struct {
	url    string
	agent  string
	addr   string
	server *server
	client *http.Client
	pins   *pins
	log    hclog.Logger
	state  string // directory of the pins; empty: they are not kept
}

func newReporter(c Config, env sdk.Env, p *pins) (*reporter, error) {
	own, err := env.Grants.Identity()
	if err != nil {
		return nil, err
	}
	s := &server{name: c.ServerFQDN, ip: c.ServerIP, port: c.ServerPort}
	r := &reporter{url: "https://" + s.addr() + "/report", addr: s.addr(), server: s, agent: "nodeprobe/" + env.Node.Version, pins: p, log: env.Log, state: env.Grants.State(stateName)}
	verify := func(key keyHash) error { return p.check(r.addr, key) }
	if c.ServerSPKI != "" { // pins have no say
		r.state = ""
		verify = func(key keyHash) error { return checkConfigured(c.ServerSPKI, key) }
	}
	r.client = newClient(s, own, verify)
	r.client.Timeout = c.Timeout
	return r, nil
}

func checkConfigured(want string, key keyHash) error {
	if shown := hex.EncodeToString(key[:]); !strings.EqualFold(shown, want) {
		return sdk.Fail(sdk.ReasonIdentity, "the server shows the key %s, server_spki_sha256 is %s", shown, want)
	}
	return nil
}

// Deliver posts the newest snapshot of b. Older ones, and records that are no
// snapshots, are passed over: through is the last of all on success.
func (r *reporter) Deliver(ctx context.Context, b sdk.Batch) (through uint64, err error) {
	var newest []byte
	for _, rec := range b.Records {
		through = rec.Seq
		if rec.Kind == sdk.RecordSnapshot {
			newest = rec.Payload
		}
	}
	if newest == nil {
		return through, nil
	}
	if r.state != "" {
		if err := r.pins.keepIn(r.state); err != nil {
			return 0, sdk.Fail(sdk.ReasonIdentity, "%w", err)
		}
	}
	if err := r.post(ctx, newest); err != nil {
		return 0, err
	}
	return through, nil
}

// maxPlain is the longest body that nodes take as it is. A longer one goes
// compressed, of which they take four times as much.
const maxPlain = 1 << 20

// post sends body; a server that does not know what compressed is, as the
// original, gets it as it is.
func (r *reporter) post(ctx context.Context, body []byte) error {
	if len(body) <= maxPlain {
		_, err := r.send(ctx, body, "")
		return err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(body)
	if err = errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("compress the snapshot: %w", err)
	}
	status, err := r.send(ctx, packed.Bytes(), "gzip")
	if status == http.StatusBadRequest || status == http.StatusUnsupportedMediaType {
		_, err = r.send(ctx, body, "")
	}
	return err
}

// send posts body; status is 0 when there was no answer.
func (r *reporter) send(ctx context.Context, body []byte, encoding string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return 0, sdk.Permanent(fmt.Errorf("request: %w", err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", r.agent)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("report to %s: %w", r.addr, err)
	}
	defer func() { _ = resp.Body.Close() }()
	// The answer says nothing more; reading some of it spares the server a reset.
	_, _ = io.CopyN(io.Discard, resp.Body, 4096)
	return resp.StatusCode, r.judge(resp)
}

// judge tells what status means for the snapshot.
func (r *reporter) judge(resp *http.Response) error {
	code := resp.StatusCode
	if code == http.StatusOK || code == http.StatusAccepted {
		if err := r.pins.first(r.addr, hashOf(resp.TLS.PeerCertificates[0])); err != nil {
			r.log.Warn("pinned key not kept beyond this process", "error", err)
		}
		return nil
	}
	err := sdk.Fail(sdk.ReasonHTTPStatus, "report to %s: status %d", r.addr, code)
	if again, after := retry(code, resp.Header.Get("Retry-After"), time.Now()); again {
		return sdk.Retryable(err, after)
	}
	return sdk.Permanent(err)
}

// retry tells whether the same snapshot can be taken later, and when at the
// earliest; 0 leaves that to the host.
func retry(code int, header string, now time.Time) (again bool, after time.Duration) {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true, retryAfter(header, now)
	default:
		return code >= 500, retryAfter(header, now)
	}
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3); 0 when it says nothing.
func retryAfter(s string, now time.Time) time.Duration {
	var wait time.Duration
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		wait = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(s); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
