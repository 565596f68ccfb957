package cmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seahow-uk/nodeprobe/builtin"
	"github.com/seahow-uk/nodeprobe/sdk"
)

// pluginServe is how the host executes this binary again as a built-in plugin:
// one file to ship, and the processes share its pages.
const pluginServe = "plugin-serve"

// pluginGCPercent is that of a plugin with much to do: collecting twice as often
// would cost an eighth of every handshake.
const pluginGCPercent = 100

func newPluginServe() *cobra.Command {
	return &cobra.Command{
		Use:    pluginServe + " NAME",
		Short:  "Serve a built-in plugin; started by the host",
		Hidden: true,
		Args:   usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			all := builtin.All()
			p, ok := all[args[0]]
			if !ok {
				return usageError{fmt.Errorf("no built-in plugin %q: want one of %s", args[0], strings.Join(slices.Sorted(maps.Keys(all)), ", "))}
			}
			go frugal(c.Context(), pluginGCPercent)
			sdk.Serve(p)
			return nil
		},
	}
}
