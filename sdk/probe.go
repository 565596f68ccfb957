package sdk

import (
	"context"
	"net"
	"strconv"
)

// Prober measures targets. Probe is called from many goroutines at once, at most
// [MaxInFlight] of them.
//
// The context ends with the job's deadline. A run that goes on is answered for
// [Grace] later, as an error of the plugin; its goroutine keeps its place among
// the runs in flight until it returns. Result and error may come together: what a failed run
// has found out so far (stages, attributes) is kept.
//
// A Prober that is also an [io.Closer] is closed when its instance is replaced or
// removed, after the last of its runs.
type Prober interface {
	Probe(ctx context.Context, t Target) (Result, error)
}

// ProberFunc is a function as a Prober.
type ProberFunc func(ctx context.Context, t Target) (Result, error)

// Probe calls f.
func (f ProberFunc) Probe(ctx context.Context, t Target) (Result, error) { return f(ctx, t) }

// Target is what one run aims at.
type Target struct {
	// NodeID is the canonical UUID of the peer; empty when the target is not a
	// known node.
	NodeID string
	// Host is an IP literal without brackets, or a host name.
	Host string
	// Port is 0 when the probe's own default is meant.
	Port uint16
	// PeerPort is where the peer's HTTPS server is dialled, a TCP port at Host; 0
	// when the target is not a known node.
	PeerPort uint16
	// SPKI is the SHA-256 of the SubjectPublicKeyInfo that the peer must show, 32
	// bytes; nil when nothing is pinned.
	SPKI []byte
	// Services of the peer that self is told of, with the keys for self; nil
	// without the grant of [CapabilityServices], and while none is known.
	Services []Service
	// Fresh asks for a run without kept connections or cached answers.
	Fresh bool
	// Occasion is why the run is beside the interval, one that the probe asked for
	// with [On]; empty for other runs.
	Occasion Occasion
}

// Addr is "host:port" as net.Dial takes it, with defaultPort when t names none.
func (t Target) Addr(defaultPort uint16) string {
	port := t.Port
	if port == 0 {
		port = defaultPort
	}
	return net.JoinHostPort(t.Host, strconv.Itoa(int(port)))
}
