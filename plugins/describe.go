package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

// Description is what a plugin says it offers.
type Description struct {
	Name, Version string
	// SHA256 of the executable in hexadecimal digits; empty for built-in plugins.
	SHA256 string
	// MaxInFlight is how many jobs the process takes at once; 0: it does not say.
	MaxInFlight int
	Probes      []ProbeKind
	Reporters   []ReporterKind
}

// Offer is what probes and reporters have in common.
type Offer struct {
	Kind, Version, Summary string
	// Schema is the JSON Schema of the configuration; may be nil.
	Schema json.RawMessage
	// Needs are the capabilities that it asks for.
	Needs []string
}

// ProbeKind is a kind of probe that a plugin offers.
type ProbeKind struct {
	Offer
	// Interval and Timeout by default; 0: the plugin does not say.
	Interval, Timeout time.Duration
	Identifies        bool
	Occasions         []core.Occasion
}

// ReporterKind is a kind of reporter that a plugin offers.
type ReporterKind struct {
	Offer
	Wants []core.RecordKind
}

// offer finds what the plugin says about the kind of in.
func (d *Description) offer(in instance) (Offer, bool) {
	if in.section == "probes" {
		p, ok := d.probe(in.kind)
		return p.Offer, ok
	}
	r, ok := d.reporter(in.kind)
	return r.Offer, ok
}

func (d *Description) probe(kind string) (ProbeKind, bool) {
	for _, p := range d.Probes {
		if p.Kind == kind {
			return p, true
		}
	}
	return ProbeKind{}, false
}

func (d *Description) reporter(kind string) (ReporterKind, bool) {
	for _, r := range d.Reporters {
		if r.Kind == kind {
			return r, true
		}
	}
	return ReporterKind{}, false
}

// kinds of one section, for error texts.
func (d *Description) kinds(section string) []string {
	var list []string
	if section == "probes" {
		for _, p := range d.Probes {
			list = append(list, p.Kind)
		}
		return list
	}
	for _, r := range d.Reporters {
		list = append(list, r.Kind)
	}
	return list
}

// Describe starts the plugin of spec, asks what it offers, and ends it. A spec
// without SHA256 is not checked against one: the caller shows Description.SHA256
// to the operator. The error is one sentence that says why it is not a plugin.
func Describe(ctx context.Context, spec Spec, log hclog.Logger) (Description, error) {
	o := Options{Log: log}
	o.setDefaults()
	dir, err := prepareRunDir("")
	if err != nil {
		return Description{}, err
	}
	defer os.RemoveAll(dir)
	sp := newSpawner()
	defer sp.stop()
	p, err := startProcess(ctx, launch{
		spec: &spec, spawner: sp, runDir: dir, log: o.Log.With("plugin", spec.Name), dropped: new(atomic.Uint64), tunables: &o.Tunables,
		answer: func([]core.Result) {}, ailing: func(*process, string) {},
	})
	if err != nil {
		return Description{}, errors.New(spec.Name + " " + err.Error())
	}
	p.stop()
	return p.about, nil
}
