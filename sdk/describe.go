package sdk

import (
	"encoding/json"
	"time"
)

// Description is what a plugin offers.
type Description struct {
	Name, Version string
	Probes        []KindInfo
	Reporters     []KindInfo
	MaxInFlight   int
}

// KindInfo describes one probe or reporter.
type KindInfo struct {
	Kind, Version, Summary string
	// Schema is the JSON Schema of the configuration (draft 2020-12).
	Schema json.RawMessage
	Needs  []string
	// Interval, Timeout, Identifies and Occasions are of probes.
	Interval, Timeout time.Duration
	Identifies        bool
	Occasions         []Occasion
	// Wants are the kinds of records of reporters.
	Wants []string
}

// Describe tells what p offers, without starting anything.
func (p Plugin) Describe() Description {
	d := Description{Name: p.name, Version: p.version, MaxInFlight: p.maxInFlight()}
	for _, part := range p.parts {
		schema, _ := part.config.schema() // check reports the error
		info := KindInfo{Kind: part.kind, Version: part.version, Summary: part.summary, Schema: schema, Needs: part.needs}
		if part.isProbe {
			info.Interval, info.Timeout, info.Identifies, info.Occasions = part.interval, part.timeout, part.identifies, part.occasions
			d.Probes = append(d.Probes, info)
			continue
		}
		info.Wants = part.wants
		d.Reporters = append(d.Reporters, info)
	}
	return d
}
