package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	exitGood  = 0
	exitBad   = 1
	exitUsage = 2
)

// oneWish is how long further signals mean the same as the first: timeout(1),
// and whoever signals a group too, sends two.
const oneWish = time.Second

// usageError is a mistake in the words of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errQuiet ends a command with exit code 1 after it has said why itself.
var errQuiet = errors.New("")

// Main runs the command line and returns the exit code: 0 good, 1 bad, 2 usage.
func Main(args []string) int {
	runtime.MemProfileRate = 0 // nobody reads the profile, and it takes a MiB
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A signal that comes later than that ends a command that is stuck.
	context.AfterFunc(ctx, func() { time.AfterFunc(oneWish, stop) })
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errQuiet):
		return exitBad
	case errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command"):
		fmt.Fprintf(os.Stderr, "nodeprobe: %v\nRun 'nodeprobe --help' for usage.\n", err)
		return exitUsage
	default:
		fmt.Fprintf(os.Stderr, "nodeprobe: %v\n", err)
		return exitBad
	}
}

func newRoot() *cobra.Command {
	s := &settings{}
	root := group("nodeprobe", "Peer-to-peer network monitoring and topology discovery",
		newRun(s), newHealth(s), newStatus(s), newPeers(s), newMatrix(s), newEvents(s),
		newProbe(s), newPlugin(s), newConfig(s), newDB(s), newVersion(), newPluginServe(),
	)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	s.register(root.PersistentFlags())
	return root
}

// group is a command that only holds others; alone it shows them, and a word
// that is none of them is a usage error.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(commands...)
	return c
}

// usage marks what an argument check finds as a usage error.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
