package cmd

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func newRun(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run a node",
		Long: "Run a node: find peers, poll them, store what was measured and serve the dashboard,\n" +
			"until SIGINT or SIGTERM. SIGHUP, or a changed file, reloads the configuration.",
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return runNode(c.Context(), s) },
	}
}

// gcPercent of a node with much to do: it lives in a few MiB, and to collect twice as
// often as by default costs little next to what it saves.
const gcPercent = 50

func runNode(ctx context.Context, s *settings) error {
	// Unless it is caught from the beginning, SIGHUP ends a process that starts.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	if os.Getenv("GOGC") == "" {
		go frugal(ctx, gcPercent)
	}
	cfg, err := s.load()
	if err != nil {
		return err
	}
	n, err := newNode(ctx, s.load, cfg, newLog(cfg, os.Stderr))
	if err != nil {
		if ctx.Err() != nil {
			return nil // it was told to stop, and has
		}
		return err
	}
	n.hup = hup
	return n.run(ctx)
}
