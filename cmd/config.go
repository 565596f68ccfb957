package cmd

import (
	"fmt"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/seahow-uk/nodeprobe/core/config"
	"github.com/seahow-uk/nodeprobe/plugins"
)

func newConfig(s *settings) *cobra.Command {
	return group("config", "Check or show the configuration", newConfigCheck(s), newConfigShow(s))
}

func newConfigCheck(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check every file, and ask the plugins about their settings",
		Args:  usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := s.judged(func(cfg *config.Config) config.Errors { return append(unserved(cfg), absent(cfg)...) })
			if err != nil {
				return err
			}
			problems, err := tryPlugins(c.Context(), specs(cfg))
			if err != nil {
				return placed(cfg, err)
			}
			out := c.OutOrStdout()
			for _, p := range problems {
				fmt.Fprintf(out, "plugin %s: %s\n", p.Name, p.Problem)
			}
			if len(problems) > 0 {
				return errQuiet
			}
			if cost, err := storageCost(c.Context(), cfg); err != nil {
				fmt.Fprintf(out, "storage: what it costs is not known: %v\n", err)
			} else {
				fmt.Fprintln(out, cost)
			}
			_, err = fmt.Fprintln(out, "the configuration is good")
			return err
		},
	}
}

func newConfigShow(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print the effective configuration, secrets left out",
		Args:  usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := s.load()
			if err != nil {
				return err
			}
			text, err := cfg.Show()
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(text)
			return err
		},
	}
}

// newHost is a host without a node, for commands that need plugins once.
func newHost() *plugins.Host {
	return plugins.New(plugins.Options{Log: hclog.NewNullLogger(), Node: plugins.NodeInfo{Version: Version()}})
}
