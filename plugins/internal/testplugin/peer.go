package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// peerConfig says what a probe of kind "peer" does.
type peerConfig struct {
	// Port of its service; 0: none runs.
	Port uint16 `json:"port"`
	// Later is how many times it is asked before that service runs.
	Later int32 `json:"later"`
	// Finds is the kind of what it finds; Version that of its document.
	Finds   string `json:"finds"`
	Version string `json:"version"`
}

// peer is a probe that uses all that the host has for those that work in pairs.
type peer struct {
	config peerConfig
	env    sdk.Env
	asked  atomic.Int32
}

func newPeer(c peerConfig, env sdk.Env) (sdk.Prober, error) { return &peer{config: c, env: env}, nil }

// Services implements sdk.Serving.
func (p *peer) Services() []sdk.Service {
	if p.asked.Add(1) <= p.config.Later || p.config.Port == 0 || p.env.Grants.Service("echo") == nil {
		return nil
	}
	return []sdk.Service{{Name: "echo", Port: p.config.Port}}
}

// Probe tells what it knows.
func (p *peer) Probe(_ context.Context, t sdk.Target) (sdk.Result, error) {
	out := sdk.Result{Attributes: map[string]string{
		"own_key": hex.EncodeToString(p.env.Node.SPKI), "secret": hex.EncodeToString(p.env.Grants.Service("echo")),
	}}
	if s, ok := t.Service("echo"); ok {
		out.Attributes["service"] = fmt.Sprintf("%d %x", s.Port, s.Key)
	}
	if t.Occasion != "" {
		out.Attributes["occasion"] = string(t.Occasion)
		out.Findings = append(out.Findings, sdk.Finding{Kind: "ran_on_" + string(t.Occasion), Instant: true})
	}
	if p.config.Finds != "" {
		out.Findings = append(out.Findings, sdk.Finding{Kind: p.config.Finds, Message: "the test says so"})
	}
	version, err := json.Marshal(map[string]string{"version": p.config.Version})
	out.Documents = append(out.Documents, sdk.Document{Name: "told", ID: p.config.Version, JSON: version})
	return out, err
}
