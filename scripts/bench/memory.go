package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Settings of the node under test. Its reports come twice a minute, so that
// those who make and take them have done so before they are measured.
const (
	withoutPaths = "report: {every: 30s}\nprobes:\n  pmtu: {enabled: false}\n  stamp: {enabled: false}\n  trace: {enabled: false}\n"
	withPaths    = "report: {every: 30s}\nprobes: {pmtu: {}, stamp: {}, trace: {}}\n"
)

const (
	// memoryTime is how long a node is watched: its peers are polled twice, its
	// memory is given back twice.
	memoryTime  = time.Minute
	memoryEvery = 5 * time.Second
	// memorySettle is after the first time that a node gives memory back by itself.
	memorySettle = 30 * time.Second
)

// idleNode is a node with 100 peers at the default interval and all plugins that
// ship: first with peers that answer, then polled by them too, as in a mesh.
func idleNode(ctx context.Context) ([]figure, error) {
	n, err := startNode(ctx, 30*time.Second, withPaths)
	if err != nil {
		return nil, err
	}
	defer n.stop()
	all, err := n.watch(ctx, "node, 100 peers, 30 s, all plugins", 45)
	if err != nil {
		return all, err
	}
	if err := n.peers.pollBack(uint16(n.port)); err != nil {
		return all, err
	}
	polled, err := n.watch(ctx, "the same, polled by them", 0)
	return append(all, polled...), err
}

// idleWithoutPaths is the same without the path probes.
func idleWithoutPaths(ctx context.Context) ([]figure, error) {
	n, err := startNode(ctx, 30*time.Second, withoutPaths)
	if err != nil {
		return nil, err
	}
	defer n.stop()
	return n.watch(ctx, "node, 100 peers, 30 s, no path probes", 0)
}

// watch is what the node takes: of its memory the median, since that depends on
// when it last was cleaned up.
func (n *node) watch(ctx context.Context, name string, bar float64) ([]figure, error) {
	if err := sleep(ctx, memorySettle); err != nil {
		return nil, err
	}
	var readings []map[string]float64
	used, polls, err := n.spent(ctx, memoryTime, memoryEvery, func() error {
		kib, err := n.memory()
		readings = append(readings, kib)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := []figure{{name + ": memory", median(of(readings, total)), "MiB PSS", bar}}
	for _, process := range processes(readings) {
		out = append(out, figure{"  of it " + process, median(of(readings, process)), "MiB PSS", 0})
	}
	return append(out,
		figure{name + ": CPU", 100 * used.Seconds() / memoryTime.Seconds(), "% core", 0.3},
		figure{name + ": polls in a minute", float64(polls), "polls", 0},
	), nil
}

// total is the name of all processes together.
const total = "total"

// memory is the PSS of the node's processes, and their sum, in MiB.
func (n *node) memory() (map[string]float64, error) {
	pids, err := family(n.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, pid := range pids {
		kib, err := pss(pid)
		if err != nil {
			return nil, err
		}
		out[role(pid)] += float64(kib) / 1024
		out[total] += float64(kib) / 1024
	}
	return out, nil
}

// role is what a process of the node does: that of a plugin is in its arguments.
func role(pid int) string {
	args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if _, name, ok := strings.Cut(string(args), "plugin-serve\x00"); ok {
		return "plugin " + strings.TrimRight(name, "\x00")
	}
	return "host"
}

func processes(readings []map[string]float64) (names []string) {
	for name := range readings[0] {
		if name != total {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func of(readings []map[string]float64, name string) (list []float64) {
	for _, r := range readings {
		list = append(list, r[name])
	}
	return list
}
