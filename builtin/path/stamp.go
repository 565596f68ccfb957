package path

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/seahow-uk/nodeprobe/builtin/names"
	"github.com/seahow-uk/nodeprobe/sdk"
)

// StampConfig is what nodeprobe.yaml says below probes.stamp.config.
type StampConfig struct {
	// Count is how many packets a train has, 2 to 500.
	Count int `json:"count" jsonschema:"packets of a train, 2 to 500; default 20, which tells a loss of 5 %"`
	// Spacing is the time from one packet to the next, 10 ms to 1 s.
	Spacing time.Duration `json:"spacing" jsonschema:"time from one packet to the next, 10ms to 1s; default 20ms"`
}

// SetDefaults implements sdk.Defaulter.
func (c *StampConfig) SetDefaults() { c.Count, c.Spacing = 20, 20*time.Millisecond }

// Validate implements sdk.Validator.
func (c *StampConfig) Validate() error {
	if c.Count < 2 || c.Count > 500 {
		return sdk.Invalid("count", "got %d, want 2 to 500", c.Count)
	}
	if c.Spacing < paceTick || c.Spacing > time.Second {
		return sdk.Invalid("spacing", "got %s, want 10ms to 1s", c.Spacing)
	}
	return nil
}

// stampPart offers the probe "stamp".
func stampPart(opts ...sdk.Option) sdk.Part {
	return sdk.NewProbe("stamp", version, newStamp, append([]sdk.Option{
		sdk.Summary("measures loss and jitter by direction, and the network's own RTT, with trains of UDP packets (STAMP, RFC 8762)"),
		sdk.Interval(time.Minute),
		sdk.Timeout(10 * time.Second),
	}, opts...)...)
}

// stamper is the probe "stamp".
type stamper struct {
	c         StampConfig
	caller    callerID
	names     resolver
	reflector func(sdk.Target) (reflectorAt, bool)
	pacer     *pacer
}

func newStamp(c StampConfig, env sdk.Env) (sdk.Prober, error) {
	return &stamper{
		c: c, caller: callerOf(env.Node), names: resolver{names.New(env.Node)}, reflector: reflectorOf, pacer: newPacer(env.Log),
	}, nil
}

// Close ends the trains under way.
func (s *stamper) Close() error { return s.pacer.close() }

// Probe sends one train to the target's reflector. Some packets lost are a success
// with its figures; all lost are a failure.
func (s *stamper) Probe(ctx context.Context, t sdk.Target) (sdk.Result, error) {
	r, ok := s.reflector(t)
	if !ok {
		return sdk.Result{}, sdk.Unsupported("the target has told of no reflector")
	}
	ip, err := s.names.addressOf(ctx, t.Host)
	if err != nil {
		return sdk.Result{}, err
	}
	f := &flight{
		flightKey: flightKey{peer: netip.AddrPortFrom(ip, r.port)}, train: *newTrain(s.c.Count),
		caller: s.caller, key: r.key, spacing: s.c.Spacing,
	}
	own, err := s.pacer.run(ctx, f)
	if f.answered == 0 {
		if err != nil && isLocal(err) {
			return sdk.Result{}, err
		}
		return sdk.Result{}, f.failure(ctx)
	}
	return stampResult(f.lost(own), f.timing(), &f.train), nil
}

func stampResult(l losses, m timing, t *train) sdk.Result {
	r := sdk.Result{RTT: m.rtt, Attributes: map[string]string{"loss": l.all.String()}}
	add := func(name string, value float64) { r.Metrics = append(r.Metrics, sdk.Metric{Name: name, Value: value}) }
	note := func(name string, n int) {
		if n > 0 {
			r.Attributes[name] = strconv.Itoa(n)
		}
	}
	add("loss_ratio", l.all.ratio())
	if l.split {
		add("loss_forward_ratio", l.forward.ratio())
		add("loss_backward_ratio", l.backward.ratio())
		r.Attributes["loss_forward"], r.Attributes["loss_backward"] = l.forward.String(), l.backward.String()
	}
	note("lost_either_way", l.unknown)
	note("dropped_by_peer", l.overflow)
	note("dropped_here", l.own)
	note("above_peers_rate", l.limited)
	note("late", t.late)
	note("duplicates", t.duplicates)
	note("reordered_forward", t.reordered.forward)
	note("reordered_backward", t.reordered.backward)
	if m.samples == 0 {
		return r
	}
	add("rtt_min_seconds", m.least.Seconds())
	// What the hosts took is no part of the RTT, and worth a figure where it is much:
	// each one is kept for a day, and by the hour for a month.
	if m.hostDelay > ownDelay(m.rtt) {
		add("host_delay_seconds", m.hostDelay.Seconds())
	}
	if m.residence > ownDelay(m.rtt) {
		add("peer_residence_seconds", m.residence.Seconds())
	}
	if m.forwardPairs > 0 {
		add("jitter_forward_seconds", m.forwardJitter.Seconds())
	}
	if m.backwardPairs > 0 {
		add("jitter_backward_seconds", m.backJitter.Seconds())
	}
	if m.loaded > 0 {
		r.Attributes["self_loaded"] = share{m.loaded, m.samples}.String()
	}
	note("without_kernel_time", m.userSent)
	return r
}

// String is "1/20": of so few packets a percentage would say too much.
func (s share) String() string { return fmt.Sprintf("%d/%d", s.n, s.of) }
