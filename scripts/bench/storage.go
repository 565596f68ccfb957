package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

const storePackage = "./core/store"

// storageJobs is what "make bench-storage" measures: what the store promises.
func storageJobs() []job {
	return []job{
		{"month", storageMonth},
		{"crowded", storageCrowded},
		{"write", storageWrite},
		{"questions-100", func(ctx context.Context) ([]figure, error) { return storageQuestions(ctx, 100, 5, 5, 50) }},
		{"questions-1000", func(ctx context.Context) ([]figure, error) { return storageQuestions(ctx, 1000, 20, 5, 250) }},
		{"matrix-1000", storageMatrix},
		{"memory", storageMemory},
	}
}

func number(digits []byte) float64 {
	v, _ := strconv.ParseFloat(string(digits), 64)
	return v
}

// storageMonth is 31 days of 100 peers and the probes that ship, in minutes: more
// than https every 30 s, stamp every minute and pmtu every 10 minutes.
func storageMonth(ctx context.Context) ([]figure, error) {
	out, err := exec.CommandContext(ctx, "go", "test", storePackage, "-run", "^TestPromise$", "-v", "-timeout", "90m",
		"-sim.days", "31", "-sim.step", "1m", "-sim.peers", "100", "-sim.max-bytes", "10000000").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	sizes := regexp.MustCompile(`promise: (\d+) bytes at most, (\d+) of the WAL`).FindSubmatch(out)
	counts := regexp.MustCompile(`promise: (\d+) of (\d+) hours of a path, (\d+) of (\d+) raw runs`).FindSubmatch(out)
	if sizes == nil || counts == nil {
		return nil, fmt.Errorf("no figures in what the test printed:\n%s", out)
	}
	return []figure{
		{"store, 31 days of 100 peers: file and WAL at most", number(sizes[1]), "bytes", 10_000_000},
		{"store, 31 days of 100 peers: WAL at most", number(sizes[2]), "bytes", 0},
		{"store, the last 24 h: single runs missing", number(counts[4]) - number(counts[3]), "runs", 0.5},
		{"store, the last 30 d: hours of a path not complete", number(counts[2]) - number(counts[1]), "hours", 0.5},
	}, nil
}

// storageCrowded is 1,000 peers after a month, in a database that is too small for
// all of it: how long results last.
func storageCrowded(ctx context.Context) ([]figure, error) {
	out, err := exec.CommandContext(ctx, "go", "test", storePackage, "-run", "^TestCrowded$", "-v", "-timeout", "90m",
		"-crowd.hours", "13", "-crowd.step", "2m", "-crowd.peers", "1000", "-crowd.max-bytes", "64000000").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	sizes := regexp.MustCompile(`crowded: (\d+) bytes at most, (\d+) of the WAL; longest step (\d+) us`).FindSubmatch(out)
	kept := regexp.MustCompile(`crowded: raw ([0-9.]+) of ([0-9.]+) h, sums ([0-9.]+) of ([0-9.]+) d`).FindSubmatch(out)
	if sizes == nil || kept == nil {
		return nil, fmt.Errorf("no figures in what the test printed:\n%s", out)
	}
	return []figure{
		{"store, 1,000 peers in 64 MB: file and WAL at most", number(sizes[1]), "bytes", 64_000_000},
		{"store, 1,000 peers in 64 MB: WAL at most", number(sizes[2]), "bytes", 0},
		{"store, 1,000 peers in 64 MB: longest step of maintenance", number(sizes[3]) / 1000, "ms", 0},
		{"store, 1,000 peers in 64 MB: single results kept", number(kept[1]), "h", 0},
		{"store, 1,000 peers in 64 MB: single results estimated", number(kept[2]), "h", 0},
		{"store, 1,000 peers in 64 MB: hourly sums kept", number(kept[3]), "d", 0},
	}, nil
}

func storageWrite(ctx context.Context) ([]figure, error) {
	return goTests(ctx, "BenchmarkWriter", "6000x", []row{
		{"rate=10", figure{"store, a result at 10/s, packing included", 0, "cpu-us/result", 40}},
		{"rate=1000", figure{"store, a result at 1000/s, packing included", 0, "cpu-us/result", 12}},
	})
}

// storageQuestions has bars in ms; 0: there is none. On a machine that does other
// things too, p99 tells of those, and processor time of the store.
func storageQuestions(ctx context.Context, peers int, latest, history, percentiles float64) ([]figure, error) {
	name := fmt.Sprintf("peers=%d", peers)
	rows := make([]row, 0, 3*4)
	for _, q := range []struct {
		line, what string
		bar        float64
	}{
		{"latest", "latest of all", latest},
		{"history", "24 h of one peer", history},
		{"history_of_a_metric", "24 h of a metric", history},
		{"percentiles", "percentiles of 24 h, all peers", percentiles},
	} {
		what := fmt.Sprintf("store, %d peers: %s", peers, q.what)
		rows = append(
			rows, row{name + "/" + q.line, figure{what, 0, "p99-ms", q.bar}}, row{name + "/" + q.line, figure{what, 0, "cpu-ms", q.bar}},
			row{name + "/" + q.line, figure{what, 0, "alloc-MB", 100}},
		)
	}
	return goTests(ctx, "BenchmarkQuestions/"+name+"$", "200x", rows)
}

// storageMatrix is the matrix of 100 peers and of 1,000 with four probes, out of the
// store and as the API answers it.
func storageMatrix(ctx context.Context) ([]figure, error) {
	var rows []row
	for _, of := range []struct {
		peers int
		bar   float64
	}{{100, 20}, {1000, 0}} {
		for _, when := range []string{"now", "past"} {
			line, what := fmt.Sprintf("peers=%d/%s", of.peers, when), fmt.Sprintf("store, %d peers: matrix, %s", of.peers, when)
			rows = append(
				rows, row{line, figure{what, 0, "p99-ms", of.bar}}, row{line, figure{what, 0, "cpu-ms", of.bar}},
				row{line, figure{what, 0, "alloc-MB", 100}},
			)
		}
	}
	rows = append(
		rows, row{"peers=1000/now", figure{"store, 1000 peers: held for the matrix", 0, "held-MB", 0}},
		row{"peers=1000/now", figure{"store, 1000 peers: longest step of maintenance", 0, "step-ms", 0}},
	)
	all, err := goTests(ctx, "BenchmarkMatrix", "20x", rows)
	if err != nil {
		return all, err
	}
	answer, err := goTest(ctx, "./web", "BenchmarkMatrix/nodes=1000", "5x", figure{name: "matrix of 1000 nodes, answered: allocated", unit: "B/op", bar: 100e6})
	return append(all, answer...), err
}

func storageMemory(ctx context.Context) ([]figure, error) {
	return goTests(ctx, "BenchmarkMemory", "9x", []row{
		{"Memory", figure{"store, 100 peers, opened and asked: memory", 0, "MiB-RSS", 16}},
	})
}

// row is a line of a benchmark's output and the figure to take from it.
type row struct {
	line string
	figure
}

// goTests runs benchmarks of the store once and takes a figure from each line.
func goTests(ctx context.Context, bench, benchtime string, rows []row) ([]figure, error) {
	out, err := exec.CommandContext(ctx, "go", "test", storePackage, "-run", "^$", "-bench", bench, "-benchtime", benchtime,
		"-timeout", "30m").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	figures := make([]figure, 0, len(rows))
	for _, r := range rows {
		line := regexp.MustCompile(`(?m)^Benchmark\S*` + regexp.QuoteMeta(r.line) + `(-\d+)?\s.*$`).Find(out)
		if r.value, err = metric(string(line), r.unit); err != nil {
			return figures, fmt.Errorf("%s: %w\n%s", r.line, err, out)
		}
		figures = append(figures, r.figure)
	}
	return figures, nil
}
