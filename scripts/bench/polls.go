package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/builtin/https"
	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/plugins"
	"github.com/seahow-uk/nodeprobe/sdk"
)

const (
	// pollTargets is how many polls are under way at a time, each to its own peer.
	pollTargets = 32
	// pollRounds of each kind are made by turns, and the medians count: what else
	// the machine does is then in both.
	pollRounds = 5
	pollWarmUp = 500 * time.Millisecond
	pollTime   = 1500 * time.Millisecond
	// pollTimeout is what a poll has, in-process too: deadlines are part of the work.
	pollTimeout = 10 * time.Second
)

// pollRatios compares the CPU time of a poll through the plugin, both processes
// together, with that of the same poll made in this process.
func pollRatios(ctx context.Context) ([]figure, error) {
	p, err := startPeers(pollTargets)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	var all []figure
	for _, c := range []struct {
		name      string
		keepAlive int
		bar       float64
	}{
		{"kept connection", pollTargets, 2.0},
		{"new connection", 0, 1.15},
	} {
		var direct, plugin, ratio []float64
		for range pollRounds {
			d, err := pollDirectly(ctx, p.ports, c.keepAlive)
			if err != nil {
				return all, err
			}
			t, err := pollThroughPlugin(ctx, p.ports, c.keepAlive)
			if err != nil {
				return all, err
			}
			direct, plugin, ratio = append(direct, d), append(plugin, t), append(ratio, t/d)
		}
		all = append(all,
			figure{name: "https poll, " + c.name + ", in-process", value: median(direct), unit: "cpu-us"},
			figure{name: "https poll, " + c.name + ", through the plugin", value: median(plugin), unit: "cpu-us"},
			figure{name: "https poll, " + c.name + ", ratio", value: median(ratio), unit: "x", bar: c.bar},
		)
	}
	return all, nil
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// pollDirectly returns microseconds of CPU time for each poll.
func pollDirectly(ctx context.Context, ports []uint16, keepAlive int) (float64, error) {
	prober, err := https.New(https.Config{KeepAlive: keepAlive}, sdk.Env{Log: hclog.NewNullLogger()})
	if err != nil {
		return 0, err
	}
	if c, ok := prober.(interface{ Close() error }); ok {
		defer c.Close()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var polls atomic.Int64
	var polling sync.WaitGroup
	for _, port := range ports {
		polling.Go(func() {
			for ctx.Err() == nil {
				poll, end := context.WithTimeout(ctx, pollTimeout)
				_, err := prober.Probe(poll, sdk.Target{Host: "127.0.0.1", Port: port})
				end()
				if err != nil && ctx.Err() == nil {
					cancel(err)
				}
				polls.Add(1)
			}
		})
	}
	us, err := cpuPer(ctx, polls.Load)
	cancel(nil)
	polling.Wait()
	return us, err
}

// pollThroughPlugin is pollDirectly with the real plugin process.
func pollThroughPlugin(ctx context.Context, ports []uint16, keepAlive int) (float64, error) {
	dir, remove, err := tempDir()
	if err != nil {
		return 0, err
	}
	defer remove()
	h := plugins.New(plugins.Options{Log: hclog.NewNullLogger(), RunDir: dir})
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil)
	running.Go(func() { _ = h.Run(ctx) })
	config, err := json.Marshal(https.Config{KeepAlive: keepAlive})
	if err != nil {
		return 0, err
	}
	err = h.Apply(ctx, []plugins.Spec{{
		Name: "https", Builtin: true, Path: nodeBinary(), Args: []string{"plugin-serve", "builtin"},
		Probes: []plugins.ProbeSpec{{Name: "https", Kind: "https", Config: config}},
	}})
	if err != nil {
		return 0, err
	}
	var polls atomic.Int64
	running.Go(func() { cancel(keepPolling(ctx, h, ports, &polls)) })
	return cpuPer(ctx, polls.Load, h.Status()[0].PID)
}

// keepPolling has one poll of every port under way until ctx ends.
func keepPolling(ctx context.Context, h *plugins.Host, ports []uint16, polls *atomic.Int64) error {
	submit := func(at core.Endpoint) error {
		return h.Submit(core.Job{
			ID: uint64(polls.Load()) + uint64(at.Port)<<40, Probe: "https", Target: core.Target{Endpoint: at},
			Identifies: true, Due: time.Now(), Timeout: pollTimeout,
		})
	}
	for _, port := range ports {
		if err := submit(core.Endpoint{Host: "127.0.0.1", Port: port}); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case results := <-h.Results():
			for _, r := range results {
				if r.Outcome != core.OutcomeSuccess && ctx.Err() == nil {
					return fmt.Errorf("poll of %s: %s: %s", r.Job.Target.Endpoint, r.Reason, r.Message)
				}
				polls.Add(1)
				if err := submit(r.Job.Target.Endpoint); err != nil {
					return err
				}
			}
		}
	}
}

// cpuPer is the CPU time, in microseconds, that this process and others use for
// each of what count counts.
func cpuPer(ctx context.Context, count func() int64, others ...int) (float64, error) {
	if err := sleep(ctx, pollWarmUp); err != nil {
		return 0, err
	}
	used, n := cpuTime(others...), count()
	if err := sleep(ctx, pollTime); err != nil {
		return 0, err
	}
	n = count() - n
	after := cpuTime(others...)
	if after.err != nil || n == 0 {
		return 0, fmt.Errorf("%d polls: %w", n, after.err)
	}
	return float64((after.took - used.took).Microseconds()) / float64(n), nil
}

// sleep waits; its error is why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
