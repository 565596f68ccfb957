package store

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// simPath is one probe at one node as it behaves in a real mesh: a base RTT of
// 0.3 to 150 ms, 6 % of lognormal jitter on it, 2 % of spikes, 0.5 % failures,
// and runs within a tenth of the interval around their turn.
type simPath struct {
	peer     int
	probe    string
	interval time.Duration
	base     float64 // seconds
	phase    time.Duration
	rng      *rand.Rand
	turn     int64
}

func newSimPath(rng *rand.Rand, peer int, probe string, interval time.Duration, base float64) *simPath {
	return &simPath{
		peer: peer, probe: probe, interval: interval, base: base, phase: time.Duration(rng.Int64N(int64(interval))),
		rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())),
	}
}

// next is the run of the next turn, counted from begin.
func (p *simPath) next(begin time.Time, job uint64) core.Result {
	jitter := time.Duration(float64(p.interval) * 0.1 * (2*p.rng.Float64() - 1))
	at := begin.Add(p.phase + time.Duration(p.turn)*p.interval + jitter)
	p.turn++
	r := core.Result{
		Job:     core.Job{ID: job, Probe: p.probe, Target: core.Target{Node: node(p.peer)}, Due: at},
		Outcome: core.OutcomeSuccess, Started: at,
	}
	if p.rng.Float64() < 0.005 {
		r.Outcome, r.Reason, r.Message = core.OutcomeFailure, core.ReasonTimeout, "no answer within 5 s"
		if p.rng.IntN(3) == 0 {
			r.Reason, r.Message = "refused", "connection refused"
		}
		return r
	}
	rtt := p.base * math.Exp(0.06*p.rng.NormFloat64())
	if p.rng.Float64() < 0.02 {
		rtt *= 1 + 9*p.rng.Float64()
	}
	if p.probe == "https" || p.probe == "stamp" {
		r.RTT = time.Duration(rtt * float64(time.Second))
	}
	r.Metrics = p.metrics()
	return r
}

// metrics are those that the probe tells of a run that finds nothing new; 1 in 1000
// trains finds a host that is busy.
func (p *simPath) metrics() []core.Metric {
	about := func(middle, spread float64) float64 { return middle * math.Exp(spread*p.rng.NormFloat64()) }
	switch p.probe {
	case "https":
		return []core.Metric{{Name: "certificate_expiry_timestamp_seconds", Value: 1_800_000_000}, {Name: "retransmits_count", Value: float64(p.rng.IntN(100) / 99)}}
	case "stamp":
		loss := func() float64 {
			if p.rng.Float64() < 0.01 {
				return float64(1+p.rng.IntN(2)) / 20
			}
			return 0
		}
		forward, back := loss(), loss()
		ms := []core.Metric{
			{Name: "loss_ratio", Value: forward + back},
			{Name: "loss_forward_ratio", Value: forward},
			{Name: "loss_backward_ratio", Value: back},
			{Name: "rtt_min_seconds", Value: about(p.base*0.95, 0.02)},
			{Name: "jitter_forward_seconds", Value: about(p.base*0.06, 0.3)},
			{Name: "jitter_backward_seconds", Value: about(p.base*0.06, 0.3)},
		}
		if p.rng.Float64() < 0.001 {
			ms = append(ms, core.Metric{Name: "host_delay_seconds", Value: about(5e-3, 0.5)})
		}
		return ms
	case "pmtu":
		return []core.Metric{{Name: "pmtu_forward_bytes", Value: 1500}, {Name: "pmtu_backward_bytes", Value: 1500}}
	case "trace":
		return []core.Metric{{Name: "hops_count", Value: 9}}
	}
	return nil
}

func simBase(rng *rand.Rand) float64 { return 0.0003 * math.Exp(rng.Float64()*math.Log(500)) }
