package path

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"github.com/seahow-uk/nodeprobe/builtin/names"
	"github.com/seahow-uk/nodeprobe/sdk"
)

const (
	// topEvery is how often larger packets than what is believed to pass are tried:
	// PMTU_RAISE_TIMER of RFC 8899 section 5.1.1.
	topEvery = 10 * time.Minute
	// The way back is verified over TCP with every run, while all runs together need not
	// more than haulRate a second: it takes a handshake, about 1 ms of both ends' CPU.
	// Above that each one waits its turn, haulEvery at most.
	haulRate  = 1
	haulBurst = 8
	haulEvery = 5 * time.Minute
	// A peer is searched once a minute, after the first few times.
	searchEvery = time.Minute
	searchBurst = 3
	// ladderAfter is how long UDP may be silent before TCP is asked as well.
	ladderAfter = 300 * time.Millisecond
	// helloFor is how long the reflector is asked at most, if TCP answers.
	helloFor = 2 * time.Second
	// guessedTop is what is tried where the interface's own MTU is not known.
	guessedTop = 1500
	// maxBeliefs bounds what is remembered of peers.
	maxBeliefs = 4096
	// pmtuPorts are below those of traces, the same for a target in every run of this
	// process: routers that share the load by flow send it the same way.
	pmtuPorts = flowPorts
)

// PMTUConfig is what nodeprobe.yaml says below probes.pmtu.config.
type PMTUConfig struct {
	// TCP looks with segments of TCP where no reflector answers.
	TCP bool `json:"tcp" jsonschema:"look with TCP segments to the peer's HTTPS port where its reflector does not answer; default true"`
	// Reflector is the other side of these probes; it runs as long as this one is
	// configured.
	Reflector ReflectorConfig `json:"reflector"`
}

// SetDefaults implements sdk.Defaulter.
func (c *PMTUConfig) SetDefaults() { c.TCP, c.Reflector.Enabled = true, true }

// pmtuPart offers the probe "pmtu".
func pmtuPart(shared *reflectors, opts ...sdk.Option) sdk.Part {
	start := func(c PMTUConfig, env sdk.Env) (sdk.Prober, error) {
		p := newPMTU(c, env)
		p.listening = p.listen(shared, env)
		return p, nil
	}
	return sdk.NewProbe("pmtu", version, start, append([]sdk.Option{
		sdk.Summary("finds the MTU of the path to a node and back, and black holes that swallow large packets"),
		sdk.Interval(30 * time.Second),
		sdk.Timeout(15 * time.Second),
	}, opts...)...)
}

// pmtuProber is the probe "pmtu".
type pmtuProber struct {
	c         PMTUConfig
	log       hclog.Logger
	caller    callerID
	names     resolver
	reflector func(sdk.Target) (reflectorAt, bool)
	climb     climber
	haul      hauler
	hauls     *rate.Limiter // those that verify
	locate    locator
	nics      *interfaces
	session   atomic.Uint32 // of which the low 16 bits are sent
	salt      uint16        // nobody else can reckon with the ports
	listening *listening    // nil when nothing is served

	mu      sync.Mutex // guards below
	beliefs map[netip.AddrPort]*belief
}

func newPMTU(c PMTUConfig, env sdk.Env) *pmtuProber {
	p := &pmtuProber{
		c:         c,
		log:       env.Log,
		caller:    callerOf(env.Node),
		names:     resolver{names.New(env.Node)},
		reflector: reflectorOf,
		climb:     climbTCP,
		haul:      haulTLS,
		hauls:     rate.NewLimiter(haulRate, haulBurst),
		locate:    locateUDP,
		nics:      new(interfaces),
		salt:      uint16(rand.Uint32N(flowPorts)),
		beliefs:   make(map[netip.AddrPort]*belief),
	}
	p.session.Store(rand.Uint32()) // other numbers than those of the last process
	return p
}

// Probe verifies what is known of the path to t and back, and searches when that is
// nothing or has changed.
func (p *pmtuProber) Probe(ctx context.Context, t sdk.Target) (sdk.Result, error) {
	ip, err := p.names.addressOf(ctx, t.Host)
	if err != nil {
		return sdk.Result{}, err
	}
	r := &pmtuRun{pmtuProber: p, ip: ip, target: t}
	r.at, r.udp = p.reflector(t)
	b := p.beliefOf(netip.AddrPortFrom(ip, httpsPort(t)))
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return sdk.Result{}, sdk.Unsupported("another run towards %s is under way", ip)
	}
	defer func() { <-b.turn }()
	r.belief = b
	if t.Fresh {
		b.known, b.located = false, location{}
	}
	if err = r.run(ctx); err != nil {
		b.known = false
		return r.result(), r.explain(ctx, err)
	}
	if r.verified {
		b.last.forward, b.last.back = b.forward.after(b.last.forward), b.back.after(b.last.back)
	}
	return r.result(), nil
}

// pmtuRun is one run.
type pmtuRun struct {
	*pmtuProber
	target sdk.Target
	ip     netip.Addr
	at     reflectorAt
	udp    bool // a reflector is known
	belief *belief
	before struct {
		forward, back pmtu
	}
	verified  bool
	searched  bool // whatever came of it
	postponed bool // a search is due, but the last were too close
	rtt       time.Duration
	spent     cost
	refused   icmpError
}

// cost is what a run has sent.
type cost struct {
	packets       int
	forward, back int // packets that served a direction; some served both
	bytes         int // sent, and asked for
}

func (c *cost) add(more cost) {
	c.packets, c.forward, c.back, c.bytes = c.packets+more.packets, c.forward+more.forward, c.back+more.back, c.bytes+more.bytes
}

// errSilent is that neither UDP nor TCP got an answer.
var errSilent = errors.New("no answer")

func (r *pmtuRun) run(ctx context.Context) error {
	b := r.belief
	r.before = b.last
	if !r.udp {
		if !r.c.TCP {
			return sdk.Unsupported("the target has told of no reflector")
		}
		return r.overTCP(ctx)
	}
	x, err := r.dial()
	if r.c.TCP && sdk.ReasonOf(err) == sdk.ReasonUnsupported {
		return r.overTCP(ctx)
	}
	if err != nil {
		return err
	}
	defer r.count(x)
	defer x.giveBack()
	defer x.close()
	x.cookie = b.cookie
	stop := context.AfterFunc(ctx, x.close)
	defer stop()
	switch {
	case b.known && b.overUDP:
		again, err := r.check(ctx, x)
		if err != nil || !again {
			return err
		}
	case b.known:
		return r.askAgain(ctx, x)
	default:
		b.limit.Allow() // the first, or by hand: not to be refused, but counted
	}
	return r.search(ctx, x)
}

// askAgain gives UDP another chance, where it was silent before.
func (r *pmtuRun) askAgain(ctx context.Context, x *exchange) error {
	enough := make(chan struct{})
	t := time.AfterFunc(ladderAfter, func() { close(enough) })
	defer t.Stop()
	ok, err := x.hello(ctx, enough)
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case ok && r.belief.limit.Allow():
		r.searched = true
		return r.overUDP(ctx, x)
	default:
		return r.overTCP(ctx)
	}
}

// dial opens the socket of the run, from the target's own port if that is free.
func (r *pmtuRun) dial() (x *exchange, err error) {
	to := netip.AddrPortFrom(r.ip, r.at.port)
	port := firstFlowPort - pmtuPorts + (flowPort(r.ip)-firstFlowPort+r.salt)%flowPorts
	for range portTries {
		x, err = newExchange(to, port, uint16(r.session.Add(1)), r.at.key, r.caller)
		if err == nil || !portTaken(err) {
			break
		}
		port++
	}
	if err != nil {
		return nil, err
	}
	x.own = func() int { return r.ownMTU(x.sock) }
	top, _ := r.ownTop(x)
	x.limit(top)
	return x, nil
}

// ownTop is the largest packet that the interface towards the target takes, and whether
// that is known.
func (r *pmtuRun) ownTop(x *exchange) (top int, known bool) {
	if own := x.own(); own > 0 {
		return own, true
	}
	return guessedTop, false
}

// ownMTU is that of the interface by which packets of s leave; 0 is not known.
func (r *pmtuRun) ownMTU(s *socket) int {
	return min(r.nics.towards(s.local().Addr(), s.remote(), time.Now()), math.MaxUint16)
}

func (r *pmtuRun) count(x *exchange) {
	r.belief.cookie = x.cookie
	r.spent.add(x.spent)
	if d := x.rtt(); d > 0 {
		r.rtt = d
	}
}

// search finds out anew: over UDP if the reflector answers, and over TCP if it does
// not within ladderAfter.
func (r *pmtuRun) search(ctx context.Context, x *exchange) error {
	r.searched = true
	tcp := r.startLadder(ctx)
	ok, err := x.hello(ctx, tcp.giveUp)
	if ok {
		tcp.drop()
		return r.overUDP(ctx, x)
	}
	if err != nil {
		tcp.drop()
		if r.c.TCP && ctx.Err() == nil && errors.Is(err, os.ErrPermission) {
			return r.overTCP(ctx) // a filter of this host
		}
		return err
	}
	r.refused = x.refused
	tcp.hurry()
	return r.takeLadder(tcp.wait())
}

// overUDP runs the two searches.
func (r *pmtuRun) overUDP(ctx context.Context, x *exchange) error {
	top, backTop, known := r.tops(x)
	forward, back := newSearch(x.small(), top), newSearch(x.small(), backTop)
	forward.guessed, back.guessed = forward.guessed || !known, back.guessed || !known
	for {
		x.forward, x.back = forward, back
		f, b := forward.next(), back.next()
		if len(f) == 0 && len(b) == 0 {
			break
		}
		if err := x.ask(ctx, f, b); err != nil {
			return err
		}
		if x.throttled {
			forward.excuse()
			back.excuse()
		}
		forward.expire()
		back.expire()
		if x.throttled {
			if err := pause(ctx, limitedPause); err != nil {
				return err
			}
		}
	}
	if forward.result.kind == kindUnknown && back.result.kind == kindUnknown {
		return errSilent
	}
	r.believe(forward.result, back.result, true)
	r.belief.kernelMTU = x.sock.kernelMTU()
	r.locateHole(ctx, x)
	return nil
}
