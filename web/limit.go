package web

import (
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rate is how many requests pass: Burst at once, PerSecond in the long run.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Limits bounds what callers can make the server do. Zero fields take the
// values of DefaultLimits.
type Limits struct {
	// Connections at once; PerIP does not hold for loopback.
	Connections, ConnectionsPerIP int
	// Anonymous holds per address on the wire endpoints, API per address on
	// /api/v1, Peer per key of a verified peer. Reads from loopback are free.
	Anonymous, API, Peer Rate
	// Streams at once, in all and per address; loopback may use all.
	Streams, StreamsPerIP int
	// BodyTimeout is how long a request's body may take.
	BodyTimeout time.Duration
}

// DefaultLimits are the limits of a node: 4,096 idle TLS connections cost about
// 165 MB; a dashboard makes up to 10 requests when it opens and 3 a second.
func DefaultLimits() Limits {
	return Limits{
		Connections: 4096, ConnectionsPerIP: 32,
		Anonymous: Rate{2, 10}, API: Rate{20, 60}, Peer: Rate{10, 50},
		Streams: 128, StreamsPerIP: 16,
		BodyTimeout: 10 * time.Second,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ have, def *int }{
		{&l.Connections, &d.Connections},
		{&l.ConnectionsPerIP, &d.ConnectionsPerIP},
		{&l.Streams, &d.Streams},
		{&l.StreamsPerIP, &d.StreamsPerIP},
	} {
		if *f.have == 0 {
			*f.have = *f.def
		}
	}
	for _, f := range []struct{ have, def *Rate }{{&l.Anonymous, &d.Anonymous}, {&l.API, &d.API}, {&l.Peer, &d.Peer}} {
		if *f.have == (Rate{}) {
			*f.have = *f.def
		}
	}
	if l.BodyTimeout == 0 {
		l.BodyTimeout = d.BodyTimeout
	}
	return l
}

// class is which limit a route falls under.
type class int

const (
	classFree class = iota // static files and probes of the service manager
	classWire              // what nodes call
	classAPI               // what browsers and scripts call
)

// throttle is the rate limits of a server.
type throttle struct{ anonymous, api, peers *meter }

func newThrottle(l Limits) *throttle {
	return &throttle{newMeter(l.Anonymous), newMeter(l.API), newMeter(l.Peer)}
}

// wait is how long the caller must wait before this request; 0 lets it pass.
func (t *throttle) wait(cl class, method string, c caller) time.Duration {
	read := method == http.MethodGet || method == http.MethodHead
	switch {
	case cl == classFree, read && c.ip.IsLoopback():
		return 0
	case c.verified:
		return t.peers.take(c.key)
	case cl == classAPI, c.ip.IsLoopback():
		return t.api.take(network(c.ip))
	default:
		return t.anonymous.take(network(c.ip))
	}
}

// maxMetered is how many callers a meter tells apart: 8,192 of them use about
// 2 MB.
const maxMetered = 8192

// sweepEvery keeps a flood of new addresses from costing a look at all buckets
// each.
const sweepEvery = time.Second

// meter is a token bucket for each caller.
type meter struct {
	rate Rate

	mu      sync.Mutex // guards the rest
	buckets map[any]*rate.Limiter
	swept   time.Time
}

func newMeter(r Rate) *meter {
	return &meter{rate: r, buckets: map[any]*rate.Limiter{}}
}

// take uses one token of who and returns 0, or returns the time until there is
// one.
func (m *meter) take(who any) time.Duration {
	now := time.Now()
	r := m.bucket(who, now).ReserveN(now, 1)
	if !r.OK() {
		return time.Second
	}
	if d := r.DelayFrom(now); d > 0 {
		r.CancelAt(now)
		return d
	}
	return 0
}

func (m *meter) bucket(who any, now time.Time) *rate.Limiter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.buckets[who]; ok {
		return b
	}
	if len(m.buckets) >= maxMetered && now.Sub(m.swept) >= sweepEvery {
		m.sweepLocked(now)
	}
	if len(m.buckets) >= maxMetered {
		who = nil // all newcomers share one bucket until others fall silent
		if b, ok := m.buckets[who]; ok {
			return b
		}
	}
	b := rate.NewLimiter(rate.Limit(m.rate.PerSecond), m.rate.Burst)
	m.buckets[who] = b
	return b
}

// sweepLocked forgets callers whose bucket is full: a new one is the same.
func (m *meter) sweepLocked(now time.Time) {
	m.swept = now
	for who, b := range m.buckets {
		if b.TokensAt(now) >= float64(m.rate.Burst) {
			delete(m.buckets, who)
		}
	}
}

// gate lets a number of callers in at once.
type gate struct {
	total int

	mu sync.Mutex // guards the rest
	in int
	by map[any]int
}

func newGate(total int) *gate { return &gate{total: total, by: map[any]int{}} }

// enter lets who in when there is room in all and fewer than each of who are
// in; then leave must be called once.
func (g *gate) enter(who any, each int) (leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in >= g.total || g.by[who] >= each {
		return nil, false
	}
	g.in++
	g.by[who]++
	return func() { g.exit(who) }, true
}

func (g *gate) exit(who any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in--
	if g.by[who]--; g.by[who] == 0 {
		delete(g.by, who)
	}
}
