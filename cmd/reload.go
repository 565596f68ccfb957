package cmd

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/config"
)

// watchEvery is how often the configuration files are looked at.
const watchEvery = 2 * time.Second

// reloader keeps the configuration that is in force.
type reloader struct {
	load func() (*config.Config, error)
	mu   sync.Mutex // guards node.cfg while it is replaced; reloads take turns
}

// watchConfig reloads on SIGHUP and when a file has changed.
func (n *node) watchConfig(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		config.Watch(ctx, n.loaded, n.config().Files, watchEvery, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.hup:
		case <-changed:
		}
		_ = n.reload(ctx) // told by reload itself
	}
}

// reload reads the configuration again and puts into force what can change
// while the node runs: probes, reporters, plugins, seeds, the dial policy, the
// allowed hosts and the log level. A bad configuration changes nothing; it is
// logged, and an event until it is mended.
func (n *node) reload(ctx context.Context) error {
	n.reloading.mu.Lock()
	defer n.reloading.mu.Unlock()
	cfg, err := n.reloading.load()
	if err == nil {
		err = n.apply(ctx, cfg)
	}
	if err != nil {
		n.log.Error("configuration rejected; the running one stays", "error", err.Error()) // as text: a list of errors is no list in a log
		n.journal.Begin(core.EventConfigRejected, configuration, core.CleanText(err.Error(), 1024))
		return err
	}
	n.journal.End(core.EventConfigRejected, configuration)
	n.log.Info("configuration reloaded")
	return nil
}

func (n *node) apply(ctx context.Context, cfg *config.Config) error {
	if err := n.host.Apply(ctx, specs(cfg)); err != nil {
		return placed(cfg, err)
	}
	for _, name := range needRestart(n.started, cfg) {
		n.log.Warn("changed setting needs a restart", "setting", name)
	}
	n.log.SetLevel(hclog.LevelFromString(cfg.LogLevel))
	n.cfg.Store(cfg)
	n.mesh.Reconfigure(n.pollInterval(), seeds(cfg), policy(cfg, n.listener.Addr()))
	n.pluginsChanged()
	return nil
}

// needRestart names the settings of now that are not those that the process was
// started with, and are only read then.
func needRestart(started, now *config.Config) []string {
	var names []string
	for _, s := range []struct {
		name string
		same bool
	}{
		{"listen", started.Listen == now.Listen},
		{"advertise", started.Advertise == now.Advertise},
		{"node_name", started.NodeName == now.NodeName},
		{"data_dir", started.DataDir == now.DataDir},
		{"cert_dir", started.CertDir == now.CertDir},
		{"trust", started.Trust == now.Trust},
		{"report.every", started.ReportEvery == now.ReportEvery},
		{"storage", started.Storage == now.Storage},
		{"log.format", started.LogFormat == now.LogFormat},
	} {
		if !s.same {
			names = append(names, s.name)
		}
	}
	return names
}
