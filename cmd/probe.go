package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/config"
	"github.com/seahow-uk/nodeprobe/core/wire"
	"github.com/seahow-uk/nodeprobe/plugins"
)

// byCommand says who made a run: a probe that is not of a node has no keys.
const byCommand = "this command, known to no node"

func newProbe(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "probe KIND TARGET",
		Short: "Run one probe at a host, without a mesh",
		Long: "Run one probe at TARGET, \"host\" or \"host:port\", and print what it measured. No node needs to run.\n" +
			"When one runs on the data directory and TARGET is a peer of it, by its address, name or id, that node makes the\n" +
			"run: it has the keys of its peers, without which some probes see less or nothing.\n" +
			"KIND is a built-in kind of probe, or the name of a stanza of probes in nodeprobe.yaml.\n" +
			"The exit code is 0 when the target answered as it should, else 1.",
		Args: usage(cobra.ExactArgs(2)),
	}
	output := outputFlag(c)
	alone := c.Flags().Bool("alone", false, "do not ask the node that runs here")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !*alone {
			r, ok, err := s.probeAsNode(c.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if ok {
				return showResult(c.OutOrStdout(), *output, r, "the node that runs here")
			}
		}
		at, err := probeTarget(args[1])
		if err != nil {
			return usageError{err}
		}
		cfg, err := s.load()
		if err != nil {
			return err
		}
		spec, err := probeSpec(cfg, args[0])
		if err != nil {
			return err
		}
		r, err := probeOnce(c.Context(), spec, args[0], at)
		if err != nil {
			return placed(cfg, err)
		}
		return showResult(c.OutOrStdout(), *output, wire.NewResult(r), byCommand)
	}
	return c
}

// probeAsNode has the running node make the run. It is false when none runs, or it
// does not know the target or have the probe.
func (s *settings) probeAsNode(ctx context.Context, probe, target string) (r wire.Result, ok bool, err error) {
	node, err := s.client()
	if err != nil {
		return r, false, nil // the configuration is read again, and then complained of
	}
	var known peers
	if node.get(ctx, "/api/v1/nodes", &known) != nil {
		return r, false, nil
	}
	at, ok := known.find(target)
	if !ok {
		return r, false, nil
	}
	ask := map[string]any{"probe": probe, "host": at.Host, "port": at.Port}
	err = node.call(ctx, http.MethodPost, "/api/v1/probe", ask, &r)
	var refused *apiError
	if errors.As(err, &refused) && refused.status == http.StatusBadRequest {
		return r, false, nil
	}
	return r, err == nil, err
}

// find is where the peer is dialled that target names: by address, host, name or
// id. A host or name of several is none.
func (p peers) find(target string) (at core.Endpoint, ok bool) {
	for _, n := range p.Nodes {
		for i, text := range n.Endpoints {
			e, err := core.ParseEndpoint(text, core.DefaultPort)
			switch {
			case err != nil:
			case text == target:
				return e, true
			case e.Host == target, i == 0 && (n.Name == target || n.ID == target):
				if ok && at != e {
					return core.Endpoint{}, false
				}
				at, ok = e, true
			}
		}
	}
	return at, ok
}

// probeTarget reads "host" or "host:port"; without a port the probe's own counts.
func probeTarget(s string) (core.Target, error) {
	at, err := core.ParseEndpoint(s, core.DefaultPort)
	if _, _, unnamed := net.SplitHostPort(s); unnamed != nil {
		at.Port = 0
	}
	return core.Target{Endpoint: at}, err
}

// probeSpec is the plugin that runs the probe of that name, and nothing else.
func probeSpec(cfg *config.Config, name string) (plugins.Spec, error) {
	var names []string
	for _, spec := range specs(cfg) {
		for _, p := range spec.Probes {
			if p.Name == name {
				spec.Probes, spec.Reporters = []plugins.ProbeSpec{p}, nil
				return spec, nil
			}
			names = append(names, p.Name)
		}
	}
	return plugins.Spec{}, usageError{fmt.Errorf("no probe %q: want one of %s", name, strings.Join(names, ", "))}
}

func showResult(w io.Writer, f format, r wire.Result, by string) error {
	err := render(w, f, r, func(w io.Writer) {
		row(w, "measured by", by)
		resultTable(w, r)
		if r.Outcome == core.OutcomeUnsupported.String() && by == byCommand {
			row(w, "hint", "run this where a node runs that has the target for a peer")
		}
	})
	if err == nil && r.Outcome != core.OutcomeSuccess.String() {
		return errQuiet
	}
	return err
}

func resultTable(w io.Writer, r wire.Result) {
	row(w, "outcome", r.Outcome)
	if r.Reason != "" {
		row(w, "reason", r.Reason)
		row(w, "message", r.Message)
	}
	if r.RTT > 0 {
		row(w, "rtt", micros(r.RTT))
	}
	for _, s := range r.Stages {
		row(w, s.Name, micros(s.Took))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Metrics)) {
		row(w, name, figure(name, r.Metrics[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
		row(w, name, r.Attributes[name])
	}
	for _, f := range r.Findings {
		row(w, f.Kind, f.Message)
	}
	for _, d := range r.Documents {
		documentRows(w, d.Name, d.Body)
	}
}

// micros is a number of microseconds for people.
func micros(us int64) string {
	if us == 0 {
		return ""
	}
	return (time.Duration(us) * time.Microsecond).String()
}
