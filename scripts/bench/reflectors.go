package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/builtin/path"
	"github.com/seahow-uk/nodeprobe/plugins"
)

// serveReflectors as the first argument makes this binary their plugin: with pages
// of its own, it does not bear a share of those of the node under test.
const serveReflectors = "serve-reflectors"

// startReflectors starts those of all peers, in one process of the path plugin: each
// at the UDP port with the number of its peer's TCP port, all with one secret.
func startReflectors(ports []uint16, secret []byte) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, remove, err := tempDir()
	if err != nil {
		return nil, err
	}
	h := plugins.New(plugins.Options{
		Log: hclog.NewNullLogger(), RunDir: dir,
		Grant: func(string) ([]byte, bool) { return secret, true },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.Run(ctx) })
	stop = func() {
		cancel()
		running.Wait()
		remove()
	}
	spec := plugins.Spec{Name: "path", Builtin: true, Path: self, Args: []string{serveReflectors}}
	for _, info := range path.Plugin().Describe().Probes {
		spec.Grants = append(spec.Grants, info.Needs...)
	}
	for _, port := range ports {
		config, err := json.Marshal(map[string]any{"reflector": map[string]any{"enabled": true, "port": port}})
		if err != nil {
			stop()
			return nil, err
		}
		spec.Probes = append(spec.Probes, plugins.ProbeSpec{Name: fmt.Sprintf("pmtu-%d", port), Kind: "pmtu", Config: config})
	}
	if err := h.Apply(ctx, []plugins.Spec{spec}); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}
