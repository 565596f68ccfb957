package cmd

import (
	"context"
	"fmt"
	"slices"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/plugins"
)

// withHost runs do with the plugins of specs started and configured, and stops
// them again.
func withHost(ctx context.Context, wanted []plugins.Spec, do func(context.Context, *plugins.Host) error) error {
	host := newHost()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- host.Run(running) }()
	err := host.Apply(ctx, wanted)
	if err == nil {
		err = do(ctx, host)
	}
	stop()
	<-ended
	return err
}

// tryPlugins starts what the configuration asks for and tells which plugins do
// not serve. The error is a refused configuration.
func tryPlugins(ctx context.Context, wanted []plugins.Spec) (problems []core.PluginStatus, err error) {
	err = withHost(ctx, wanted, func(_ context.Context, h *plugins.Host) error {
		problems = slices.DeleteFunc(h.Status(), func(p core.PluginStatus) bool { return p.Problem == "" })
		return nil
	})
	return problems, err
}

// probeOnce runs one probe at a target, without a node.
func probeOnce(ctx context.Context, spec plugins.Spec, probe string, t core.Target) (r core.Result, err error) {
	err = withHost(ctx, []plugins.Spec{spec}, func(ctx context.Context, h *plugins.Host) error {
		i := slices.IndexFunc(h.Probes(), func(p core.ProbeInfo) bool { return p.Name == probe })
		if i < 0 {
			return fmt.Errorf("plugin %s does not serve: %s", spec.Name, h.Status()[0].Problem)
		}
		engine := core.NewEngine(core.EngineOptions{Dispatcher: h})
		engine.SetProbes(h.Probes())
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- engine.Run(running) }()
		r, err = engine.Probe(ctx, probe, t)
		stop()
		<-ended
		return err
	})
	return r, err
}
