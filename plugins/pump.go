package plugins

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// pump opens the stream and starts what moves it. A process without probes
// need not serve one.
func (p *process) pump() error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.pumps.Go(func() { p.watchExit(ctx) })
	p.pumps.Go(func() { p.watchHealth(ctx) })
	if len(p.about.Probes) == 0 {
		return nil
	}
	st, err := p.rpc.Run(ctx, grpc.ForceCodecV2(newCodec()))
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	p.pumps.Go(func() { p.send(ctx, st) })
	p.pumps.Go(func() { p.receive(st) })
	p.pumps.Go(func() { p.watch(ctx) })
	return nil
}

// send blocks for one job and takes along what else waits: batches grow with
// the load by themselves and add no delay without it.
func (p *process) send(ctx context.Context, st jobStream) {
	for {
		batch := p.stream.take(time.Now())
		if batch == nil {
			select {
			case <-p.stream.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if err := st.Send(batch); err != nil {
			return // receive sees the reason
		}
	}
}

func (p *process) receive(st jobStream) {
	message := newAnswers()
	var flights []flight
	for {
		if err := st.RecvMsg(message); err != nil {
			p.fail(streamEnd(err))
			return
		}
		p.heard.Add(1)
		p.running.retold(message.other.GetServices())
		now := time.Now()
		flights = p.stream.settle(message.list, flights[:0])
		p.answerAll(flights, message.list, now)
		clear(flights)
	}
}

func (p *process) answerAll(flights []flight, results []answer, now time.Time) {
	if len(flights) == 0 {
		return
	}
	out := make([]core.Result, 0, len(flights))
	for i := range flights {
		if flights[i].id != 0 {
			out = append(out, resultOf(&flights[i], &results[i], now))
		}
	}
	p.answer(out)
}

func streamEnd(err error) string {
	switch status.Code(err) {
	case codes.ResourceExhausted:
		return fmt.Sprintf("sent a message of more than %d MiB", sdk.MaxMessageBytes>>20)
	case codes.Unavailable, codes.Canceled:
		return "closed its connection"
	default:
		return "ended its stream: " + firstLine(err)
	}
}

// watch answers for jobs that the plugin leaves lying and takes its pulse.
func (p *process) watch(ctx context.Context) {
	pulse := time.NewTicker(p.tunables.HeartbeatEvery)
	defer pulse.Stop()
	deadline := time.NewTimer(time.Hour)
	defer deadline.Stop()
	var beat uint64
	var misses int
	heard := p.heard.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.stream.alarm:
		case <-deadline.C:
		case <-pulse.C:
			if now := p.heard.Load(); now != heard || beat == 0 {
				heard, misses = now, 0
			} else if misses++; misses >= p.tunables.HeartbeatMisses {
				p.fail(fmt.Sprintf("did not answer %d heartbeats and was killed", misses))
				return
			}
			beat++
			p.stream.heartbeat(beat)
			continue
		}
		next, ok := p.expire()
		if !ok {
			return
		}
		deadline.Reset(next)
	}
}

// expire answers for what is overdue and tells when to look again.
func (p *process) expire() (wait time.Duration, ok bool) {
	now := time.Now()
	hung, late, next, frozen := p.stream.expire(now)
	p.giveUp(hung, core.ReasonPluginHung, fmt.Sprintf("plugin %s did not answer within the deadline and %v more", p.spec.Name, p.tunables.JobGrace))
	p.giveUp(late, core.ReasonPluginBusy, "plugin "+p.spec.Name+" was busy until the run's time was over")
	if frozen {
		p.fail("left every run that it can hold unanswered and was killed")
		return 0, false
	}
	if next.IsZero() {
		return time.Hour, true
	}
	return max(next.Sub(now), time.Millisecond), true
}

func (p *process) watchExit(ctx context.Context) {
	select {
	case <-p.child.done:
		p.fail("ended")
	case <-ctx.Done():
	}
}

// watchHealth asks what the stream does not tell: whether the process sees a
// problem of its own, or can serve no more though it echoes heartbeats.
func (p *process) watchHealth(ctx context.Context) {
	pulse := time.NewTicker(p.tunables.HeartbeatEvery)
	defer pulse.Stop()
	misses, ails := 0, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-pulse.C:
		}
		problem, counters, err := p.health(ctx)
		switch {
		case err == nil:
			misses = 0
			p.counters.Store(&counters)
		case ctx.Err() != nil:
			return
		default:
			if misses++; misses >= p.tunables.HeartbeatMisses {
				p.fail(unhealthy(misses, err))
				return
			}
			continue
		}
		if problem != ails {
			ails = problem
			p.ailing(p, problem)
		}
	}
}

func (p *process) health(ctx context.Context) (problem string, counters map[string]uint64, err error) {
	call, cancel := context.WithTimeout(ctx, p.tunables.HeartbeatEvery)
	defer cancel()
	resp, err := p.rpc.Health(call, &pluginv1.HealthRequest{})
	return core.CleanText(resp.GetProblem(), maxMessageText), countersOf(resp), err
}

// counterName is what a counter of a plugin may be called: a label of /metrics.
var counterName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// maxCounters of a plugin are shown; those that come first by name.
const maxCounters = 32

func countersOf(resp *pluginv1.HealthResponse) map[string]uint64 {
	out := make(map[string]uint64)
	for _, name := range slices.Sorted(maps.Keys(resp.GetCounters())) {
		if len(out) == maxCounters {
			break
		}
		if counterName.MatchString(name) {
			out[name] = resp.GetCounters()[name]
		}
	}
	return out
}

func unhealthy(misses int, err error) string {
	if status.Code(err) == codes.Unavailable {
		return "was killed, as it was not well: " + status.Convert(err).Message()
	}
	return fmt.Sprintf("did not answer %d health calls and was killed", misses)
}
