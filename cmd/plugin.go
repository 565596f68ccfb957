package cmd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
	"github.com/seahow-uk/nodeprobe/plugins"
)

func newPlugin(s *settings) *cobra.Command {
	return group("plugin", "List, check, run and make plugins",
		newList(s, "list", "List the plugins of the running node", "/api/v1/plugins", pluginTable),
		newPluginCheck(), newPluginRun(), newPluginNew(), newPluginEnable(s),
	)
}

func newPluginEnable(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "enable NAME",
		Short: "Start a plugin again that was disabled because it crashed too often",
		Long: "Start a plugin again that was disabled because it crashed too often, or that waits to be started again.\n" +
			"The exit code is 0 once it serves, and 1 when it does not.",
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			node, err := s.client()
			if err != nil {
				return err
			}
			if err := node.call(c.Context(), "POST", "/api/v1/plugins/"+url.PathEscape(args[0])+"/enable", nil, nil); err != nil {
				return err
			}
			return awaitStart(c.Context(), node, args[0], c.OutOrStdout())
		},
	}
}

// startLimit is over the time that the host gives a plugin to start.
const startLimit = 15 * time.Second

// awaitStart waits until a plugin is no longer starting, and says how it is.
func awaitStart(ctx context.Context, node *client, name string, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var l pluginList
		if err := node.get(ctx, "/api/v1/plugins", &l); err != nil {
			return err
		}
		for _, p := range l.Plugins {
			switch {
			case p.Name != name || p.State == string(core.PluginStarting):
			case p.State == string(core.PluginRunning) && p.Problem == "":
				fmt.Fprintf(w, "plugin %s runs, process %d\n", name, p.PID)
				return nil
			default:
				return fmt.Errorf("plugin %s %s", name, p.Problem)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("plugin %s has not started within %s; see 'nodeprobe plugin list'", name, startLimit)
		case <-tick.C:
		}
	}
}

// isObject tells that text is a JSON object, as a configuration is.
func isObject(text string) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal([]byte(text), &object) == nil && object != nil
}

// pluginSpec is a plugin binary that is not in any configuration.
func pluginSpec(path string) (plugins.Spec, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return plugins.Spec{}, err
	}
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return plugins.Spec{}, fmt.Errorf("there is no file %s: want the path of a plugin's executable", abs)
	case err != nil:
		return plugins.Spec{}, err
	case !info.Mode().IsRegular():
		return plugins.Spec{}, fmt.Errorf("%s is not a file: want the path of a plugin's executable", abs)
	}
	f, err := os.Open(abs)
	if err != nil {
		return plugins.Spec{}, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return plugins.Spec{}, fmt.Errorf("read %s: %w", path, err)
	}
	return plugins.Spec{Name: "plugin", Path: abs, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

func newPluginRun() *cobra.Command {
	var target, kind, conf string
	c := &cobra.Command{
		Use:   "run FILE --target HOST",
		Short: "Run a probe of a plugin binary once, without a node",
		Args:  usage(cobra.ExactArgs(1)),
	}
	output := outputFlag(c)
	c.Flags().StringVar(&target, "target", "", "what to measure, \"host\" or \"host:port\"")
	c.Flags().StringVar(&kind, "kind", "", "kind of the probe (default the first that the plugin offers)")
	c.Flags().StringVar(&conf, "plugin-config", "{}", "configuration of the probe, a JSON object")
	c.RunE = func(c *cobra.Command, args []string) error {
		at, err := probeTarget(target)
		if err != nil {
			return usageError{fmt.Errorf("--target: %w", err)}
		}
		if !isObject(conf) {
			return usageError{fmt.Errorf("--plugin-config %.80q: want a JSON object", conf)}
		}
		spec, err := pluginSpec(args[0])
		if err != nil {
			return err
		}
		if kind, err = firstKind(c.Context(), spec, kind); err != nil {
			return err
		}
		spec.Probes = []plugins.ProbeSpec{{Name: kind, Kind: kind, Config: json.RawMessage(conf)}}
		r, err := probeOnce(c.Context(), spec, kind, at)
		if err != nil {
			return err
		}
		return showResult(c.OutOrStdout(), *output, wire.NewResult(r), byCommand)
	}
	return c
}

// firstKind is kind, or the first that the plugin offers.
func firstKind(ctx context.Context, spec plugins.Spec, kind string) (string, error) {
	if kind != "" {
		return kind, nil
	}
	d, err := plugins.Describe(ctx, spec, hclog.NewNullLogger())
	if err != nil {
		return "", err
	}
	if len(d.Probes) == 0 {
		return "", fmt.Errorf("%s offers no probe", spec.Path)
	}
	return d.Probes[0].Kind, nil
}
