package path

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"hash/fnv"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seahow-uk/nodeprobe/builtin/names"
	"github.com/seahow-uk/nodeprobe/sdk"
)

// Where a trace aims at when the target says nothing else.
const (
	defaultTCPPort = 443
	// closedPort is the first of traceroute's: nothing listens there.
	closedPort = 33434
)

// A flow's source port is the same in every trace of a target, so that routers
// which share the load by flow send it the same way. The range is below that of
// ports that the system gives away.
const (
	firstFlowPort = 24_000
	flowPorts     = 8_000
	portTries     = 8
)

// maxPathsKept bounds what is remembered of targets.
const maxPathsKept = 4096

// closedPortAgain is when a host may send the next port unreachable.
const closedPortAgain = 1100 * time.Millisecond

// TraceConfig is what nodeprobe.yaml says below probes.trace.config.
type TraceConfig struct {
	// UDP walks to the target's reflector, or to a closed port.
	UDP bool `json:"udp" jsonschema:"walk with UDP, to the peer's reflector or else to a closed port; default true"`
	// TCP walks with SYNs to the target's HTTPS port.
	TCP bool `json:"tcp" jsonschema:"walk with TCP SYNs to the peer's HTTPS port; default true"`
	// MaxHops is how far a walk goes, 1 to 30.
	MaxHops int `json:"max_hops" jsonschema:"how many hops away the peer is at most, 1 to 30; default 30"`
}

// SetDefaults implements sdk.Defaulter.
func (c *TraceConfig) SetDefaults() { c.UDP, c.TCP, c.MaxHops = true, true, maxHops }

// Validate implements sdk.Validator.
func (c *TraceConfig) Validate() error {
	if c.MaxHops < 1 || c.MaxHops > maxHops {
		return sdk.Invalid("max_hops", "got %d, want 1 to %d", c.MaxHops, maxHops)
	}
	if !c.UDP && !c.TCP {
		return sdk.Invalid("", "one of udp and tcp must be true")
	}
	return nil
}

// tracePart offers the probe "trace".
func tracePart(opts ...sdk.Option) sdk.Part {
	return sdk.NewProbe("trace", version, newTrace, append([]sdk.Option{
		sdk.Summary("finds the hops of the way to a node, with UDP and TCP, and names the way"),
		sdk.Interval(10 * time.Minute),
		sdk.Timeout(20 * time.Second),
	}, opts...)...)
}

// tracer is the probe "trace".
type tracer struct {
	c         TraceConfig
	caller    callerID
	names     resolver
	reflector func(sdk.Target) (reflectorAt, bool)
	budget    *icmpBudget

	mu    sync.Mutex // guards below
	paths map[netip.AddrPort]*hopPath
	busy  map[netip.Addr]chan struct{} // targets being traced; closed at the end
}

func newTrace(c TraceConfig, env sdk.Env) (sdk.Prober, error) {
	return &tracer{
		c: c, caller: callerOf(env.Node), names: resolver{names.New(env.Node)}, reflector: reflectorOf, budget: &icmpBudget{now: time.Now},
		paths: map[netip.AddrPort]*hopPath{}, busy: map[netip.Addr]chan struct{}{},
	}, nil
}

// Probe traces the way to t. That the way was found is a success only if it leads
// to t; the hops up to where it ends are in the result all the same.
func (p *tracer) Probe(ctx context.Context, t sdk.Target) (sdk.Result, error) {
	ip, err := p.names.addressOf(ctx, t.Host)
	if err != nil {
		return sdk.Result{}, err
	}
	// Two traces at once would be one flow.
	release, err := p.claim(ctx, ip)
	if err != nil {
		return sdk.Result{}, err
	}
	defer release()
	flows, err := p.walk(ctx, ip, t)
	if len(flows) == 0 {
		return sdk.Result{}, err
	}
	found := joinFlows(ip, flows)
	changed := p.remember(netip.AddrPortFrom(ip, httpsPort(t)), &found)
	r := traceResult(&found)
	for _, f := range flows {
		r.Stages = append(r.Stages, sdk.Stage{Name: f.protocol, Took: f.took})
	}
	if changed != "" {
		r.Hint = "the hop path was " + changed + ", is " + found.ID
		addNote(&r, "hop_path_changed", r.Hint)
	}
	if !found.Reached {
		return r, notReached(ctx, &found)
	}
	return r, nil
}

func traceResult(found *hopPath) sdk.Result {
	// The RTT is for stamp to measure: here it is a figure of a host that may be busy.
	r := sdk.Result{Attributes: map[string]string{
		"path_id": found.ID, "remote_address": found.Target.String(), "reached_by": strings.Join(found.reachedBy(), ","),
	}}
	if found.Reached {
		r.Metrics = []sdk.Metric{{Name: "hops_count", Value: float64(len(found.Hops))}}
	}
	for _, f := range found.Flows {
		if f.RefusedBy != "" {
			r.Attributes[f.Protocol+"_refused_by"] = f.RefusedBy
		}
	}
	addDocument(&r, "trace", found.ID, found)
	return r
}

func notReached(ctx context.Context, found *hopPath) error {
	last, any := found.lastHeard()
	refuser := ""
	for _, f := range found.Flows {
		refuser = cmp.Or(refuser, f.RefusedBy)
	}
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return sdk.Fail(sdk.ReasonCanceled, "canceled")
	case refuser != "":
		return sdk.Fail(sdk.ReasonUnreachable, "%s lets nothing pass to the target", refuser)
	case any:
		return sdk.Fail(sdk.ReasonTimeout, "the way is known up to hop %d, %s; the target did not answer", last.TTL, last.Nodes[0].Address)
	default:
		return sdk.Fail(sdk.ReasonTimeout, "neither the target nor any hop answered")
	}
}

// walk runs the flows at once. The error is that of a flow that could not be
// walked at all, when there is no other.
func (p *tracer) walk(ctx context.Context, ip netip.Addr, t sdk.Target) ([]flow, error) {
	type outcome struct {
		flow
		err error
	}
	var (
		all    [2]outcome
		wg     sdk.Group
		source = flowPort(ip)
	)
	if p.c.UDP {
		wg.Go(func() { all[0].flow, all[0].err = p.walkUDP(ctx, source, ip, t) })
	}
	if p.c.TCP {
		wg.Go(func() { all[1].flow, all[1].err = p.walkTCP(ctx, source, ip, t) })
	}
	wg.Wait()
	var (
		flows []flow
		errs  []error
	)
	for _, o := range all {
		if o.protocol != "" {
			flows = append(flows, o.flow)
		}
		if o.err != nil {
			errs = append(errs, o.err)
		}
	}
	if len(errs) == 0 {
		return flows, nil
	}
	return flows, errs[0]
}

func (p *tracer) walkUDP(ctx context.Context, source uint16, ip netip.Addr, t sdk.Target) (flow, error) {
	o := walkOptions{endProbes: walkProbes, mayAsk: p.budget.take, limit: p.c.MaxHops}
	r, ok := p.reflector(t)
	if !ok {
		r = reflectorAt{closedPort, make([]byte, 32)}
		_, _ = rand.Read(r.key) // cannot fail; nobody else needs to know it
		o.again = closedPortAgain
	}
	s, err := dialUDPFlow(source, netip.AddrPortFrom(ip, r.port), p.caller, r.key)
	if err != nil {
		return flow{}, err
	}
	return follow(ctx, protocolUDP, s, o)
}

// walkTCP asks the end once: it makes a connection there, for no use.
func (p *tracer) walkTCP(ctx context.Context, source uint16, ip netip.Addr, t sdk.Target) (flow, error) {
	s, err := dialTCPFlow(source, netip.AddrPortFrom(ip, httpsPort(t)))
	if err != nil {
		return flow{}, err
	}
	return follow(ctx, protocolTCP, s, walkOptions{serial: true, hello: true, endProbes: 1, mayAsk: p.budget.take, limit: p.c.MaxHops})
}

// claim waits until nobody else traces ip.
func (p *tracer) claim(ctx context.Context, ip netip.Addr) (release func(), err error) {
	for {
		p.mu.Lock()
		other, taken := p.busy[ip]
		if !taken {
			done := make(chan struct{})
			p.busy[ip] = done
			p.mu.Unlock()
			return func() {
				p.mu.Lock()
				delete(p.busy, ip)
				p.mu.Unlock()
				close(done)
			}, nil
		}
		p.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, sdk.Unsupported("another trace of %s is under way", ip)
		}
	}
}

// remember compares found with what was found before. When it may be the same way
// it gets the name that this has, unless it tells more; else changed is that name.
// While the target does not answer, the way that led to it is kept in mind: it will
// be the same again, or another.
func (p *tracer) remember(at netip.AddrPort, found *hopPath) (changed string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.paths[at]
	switch {
	case old == nil:
	case !found.sameWay(old):
		changed = old.ID
	case old.Reached && !found.Reached:
		last, _ := found.lastHeard()
		found.ID = old.cutAt(last.TTL)
		return ""
	case old.Reached == found.Reached && found.known() <= old.known():
		found.ID = old.ID
		return ""
	}
	if old == nil && len(p.paths) >= maxPathsKept {
		for any := range p.paths {
			delete(p.paths, any)
			break
		}
	}
	p.paths[at] = found
	return changed
}

// flowPort is the source port of a target's flows.
func flowPort(ip netip.Addr) uint16 {
	h := fnv.New32a()
	b := ip.As16()
	_, _ = h.Write(b[:])
	return firstFlowPort + uint16(h.Sum32()%flowPorts)
}

// portTaken tells that another port may do.
func portTaken(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// isLocal tells that err of a send is of this host: no other probe would go out.
func isLocal(err error) bool {
	switch sdk.ReasonOf(err) {
	case sdk.ReasonPermission, sdk.ReasonResources, sdk.ReasonUnsupported:
		return true
	default:
		return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, net.ErrClosed) || portTaken(err)
	}
}
