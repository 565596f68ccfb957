package https

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// version of the probe.
const version = "1.0.0"

// Defaults of an instance. The timeout leaves a node that is busy, or a way that
// loses the first packets (1 s and 3 s until they are repeated), time to answer.
const (
	defaultInterval = 30 * time.Second
	defaultTimeout  = 10 * time.Second
)

// Config is what nodeprobe.yaml says below probes.https.config.
type Config struct {
	// KeepAlive is how many peers' connections are kept between polls: 0 to 10000,
	// default 100. A kept connection takes 6 KiB here, and up to 40 at the peer; it
	// saves the handshake, nine tenths of what a poll costs.
	KeepAlive int `json:"keep_alive" jsonschema:"how many peers' connections are kept between polls, 0 to 10000; default 100"`
	// PostQuantum also offers the hybrid key exchange X25519MLKEM768: a third of
	// what a handshake costs, for an answer that holds no secrets.
	PostQuantum bool `json:"post_quantum" jsonschema:"also offer the post-quantum key exchange X25519MLKEM768, which makes a handshake a third dearer; default false"`
	// AllowLoopback lets host names stand for loopback addresses also when the
	// node itself is not on one. IP literals are dialled as they are.
	AllowLoopback bool `json:"allow_loopback" jsonschema:"dial host names that resolve to loopback addresses, as a node does that listens on one itself; default false"`
}

// SetDefaults implements sdk.Defaulter.
func (c *Config) SetDefaults() { c.KeepAlive = 100 }

// Validate implements sdk.Validator.
func (c *Config) Validate() error {
	if c.KeepAlive < 0 || c.KeepAlive > 10_000 {
		return sdk.Invalid("keep_alive", "got %d, want 0 to 10000", c.KeepAlive)
	}
	return nil
}

// Part is the probe, to be offered by a plugin.
func Part(opts ...sdk.Option) sdk.Part {
	return sdk.NewProbe("https", version, New, append([]sdk.Option{
		sdk.Summary("polls a node over HTTPS: reachability, RTT, stages, certificate, identity; learns peers"),
		sdk.Identifies(),
		sdk.Needs(sdk.CapabilityIdentity),
		sdk.Interval(defaultInterval),
		sdk.Timeout(defaultTimeout),
	}, opts...)...)
}

// prober polls any number of targets at once.
type prober struct {
	log     hclog.Logger
	dialer  *dialer
	tls     *tls.Config
	request request
	pool    *pool
	memory  *memory
	hints   *hints
	readers readers
	bodies  *bodies
	// missing is missesSegments.
	missing func(*net.TCPConn) bool
}

// New makes a prober. Without the grant of an identity it polls anonymously;
// an identity that cannot be used is an error.
func New(c Config, env sdk.Env) (sdk.Prober, error) {
	own, err := env.Grants.Identity()
	if err != nil {
		return nil, err
	}
	return &prober{
		log:     env.Log,
		dialer:  newDialer(c.AllowLoopback, env.Node),
		tls:     clientTLS(own, c.PostQuantum),
		request: newRequest(env.Node),
		pool:    newPool(c.KeepAlive),
		memory:  newMemory(maxRemembered),
		hints:   newHints(),
		bodies:  newBodies(),
		missing: missesSegments,
	}, nil
}

// Probe polls t once. The result holds what happened up to an error.
func (p *prober) Probe(ctx context.Context, t sdk.Target) (sdk.Result, error) {
	r := p.newRun(t)
	err := r.poll(ctx)
	r.took(stageTotal, time.Since(r.began))
	if err != nil {
		err = r.explain(ctx, err)
	}
	return r.result, err
}

// Close closes the kept connections; runs in flight close theirs.
func (p *prober) Close() error {
	p.pool.close()
	return nil
}
