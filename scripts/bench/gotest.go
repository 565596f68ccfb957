package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// goTest runs one benchmark of a package and takes the metric in f's unit.
func goTest(ctx context.Context, pkg, bench, benchtime string, f figure) ([]figure, error) {
	cmd := exec.CommandContext(ctx, "go", "test", pkg, "-run", "^$", "-bench", "^"+bench+"$", "-benchtime", benchtime, "-timeout", "5m")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	if f.value, err = metric(string(out), f.unit); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return []figure{f}, nil
}

// pathProbes is what the path probes of 1,000 peers take of a core: MTUs verified every
// 30 s, by prober and reflector, and a train of 20 packets a minute, by its sender.
func pathProbes(ctx context.Context) ([]figure, error) {
	const pkg, unit, all = "./builtin/path", "cores_ratio", 0.05
	verify, err := goTest(ctx, pkg, "BenchmarkVerify1000", "2s", figure{name: "1000 peers: pmtu verified, both ends", unit: unit})
	if err != nil {
		return nil, err
	}
	stamp, err := goTest(ctx, pkg, "BenchmarkStamp1000", "1x", figure{name: "1000 peers: stamp, 20 packets a minute", unit: unit})
	if err != nil {
		return nil, err
	}
	list := append(verify, stamp...)
	return append(list, figure{name: "1000 peers: pmtu and stamp together", value: list[0].value + list[1].value, unit: unit, bar: all}), nil
}

// metric finds "VALUE UNIT" in the line of a benchmark.
func metric(out, unit string) (float64, error) {
	m := regexp.MustCompile(`(?m)^Benchmark.*\s([0-9.e+-]+) ` + regexp.QuoteMeta(unit) + `(\s|$)`).FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no figure in %s in what the benchmark printed", unit)
	}
	return strconv.ParseFloat(m[1], 64)
}

// meshWhole is the time from the start of n nodes until each sees all others.
func meshWhole(ctx context.Context, n int, bar float64) ([]figure, error) {
	dir, remove, err := tempDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	out, err := exec.CommandContext(ctx, meshBinary, "-until-whole", "-nodes", strconv.Itoa(n),
		"-dir", dir, "-base-port", "18443").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	m := regexp.MustCompile(`(?m)^whole after ([0-9.]+)s`).FindStringSubmatch(string(out))
	if m == nil {
		return nil, fmt.Errorf("no time in what mesh printed:\n%s", out)
	}
	took, err := strconv.ParseFloat(m[1], 64)
	return []figure{{fmt.Sprintf("%d nodes, one seed: whole", n), took, "s", bar}}, err
}
