package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/seahow-uk/nodeprobe/plugins"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest/conformance"
)

// checkReport is what plugin check finds.
type checkReport struct {
	Name    string        `json:"name"`
	Version string        `json:"version"`
	SHA256  string        `json:"sha256"`
	Offers  []offered     `json:"offers"`
	Checks  []checkResult `json:"checks"`
}

// offered is one kind of probe or reporter.
type offered struct {
	What    string          `json:"what"` // probe or reporter
	Kind    string          `json:"kind"`
	Version string          `json:"version"`
	Summary string          `json:"summary"`
	Needs   []string        `json:"needs"`
	Schema  json.RawMessage `json:"config_schema"`
}

type checkResult struct {
	Name    string `json:"name"`
	Purpose string `json:"purpose"`
	Status  string `json:"status"` // ok, failed, not_applicable or needs_config
	Problem string `json:"problem,omitempty"`
}

func newPluginCheck() *cobra.Command {
	var settings []string
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Tell what a plugin binary offers, and whether it keeps the contract",
		Args:  usage(cobra.ExactArgs(1)),
	}
	output := outputFlag(c)
	c.Flags().StringArrayVar(&settings, "plugin-config", nil, "a good configuration of one kind, KIND={JSON}; may be repeated")
	c.RunE = func(c *cobra.Command, args []string) error {
		spec, err := pluginSpec(args[0])
		if err != nil {
			return err
		}
		subject := &conformance.Subject{Path: spec.Path}
		if subject.Config, err = configsByKind(settings); err != nil {
			return usageError{err}
		}
		d, err := plugins.Describe(c.Context(), spec, hclog.NewNullLogger())
		if err != nil {
			return err
		}
		report := newCheckReport(d)
		good := report.run(c.Context(), subject)
		if err := render(c.OutOrStdout(), *output, report, report.table); err != nil {
			return err
		}
		if !good {
			return errQuiet
		}
		return nil
	}
	return c
}

// configsByKind reads the values of --plugin-config.
func configsByKind(settings []string) (map[string]json.RawMessage, error) {
	byKind := map[string]json.RawMessage{}
	for _, s := range settings {
		kind, config, ok := strings.Cut(s, "=")
		if !ok || !isObject(config) {
			return nil, fmt.Errorf("--plugin-config %q: want KIND={JSON}", s)
		}
		byKind[kind] = json.RawMessage(config)
	}
	return byKind, nil
}

func newCheckReport(d plugins.Description) checkReport {
	r := checkReport{Name: d.Name, Version: d.Version, SHA256: d.SHA256}
	add := func(what string, o plugins.Offer) {
		r.Offers = append(r.Offers, offered{what, o.Kind, o.Version, o.Summary, o.Needs, o.Schema})
	}
	for _, p := range d.Probes {
		add("probe", p.Offer)
	}
	for _, p := range d.Reporters {
		add("reporter", p.Offer)
	}
	return r
}

// run adds the result of every check; good tells that none failed.
func (r *checkReport) run(ctx context.Context, subject *conformance.Subject) (good bool) {
	good = true
	for _, check := range conformance.Checks() {
		err := check.Run(ctx, subject)
		result := checkResult{Name: check.Name, Purpose: check.Purpose, Status: "ok"}
		switch {
		case errors.Is(err, conformance.ErrNotApplicable):
			result.Status, result.Problem = "not_applicable", err.Error()
		case errors.Is(err, conformance.ErrNeedsConfig):
			result.Status, result.Problem = "needs_config", err.Error()+"; give a good one with --plugin-config KIND={JSON}"
			good = false
		case err != nil:
			result.Status, result.Problem = "failed", err.Error()
			good = false
		}
		r.Checks = append(r.Checks, result)
	}
	return good
}

func (r *checkReport) table(w io.Writer) {
	row(w, "plugin", r.Name, r.Version)
	row(w, "sha256", r.SHA256)
	for _, o := range r.Offers {
		row(w, o.What, o.Kind, o.Version, o.Summary, strings.Join(o.Needs, " "))
	}
	for _, c := range r.Checks {
		row(w, c.Status, c.Name, c.Purpose, c.Problem)
	}
}
