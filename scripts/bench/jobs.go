package main

import "context"

// jobs is what is measured, in the order of the table. To add a benchmark of
// some package, add a line with goTest; the last of its arguments picks the
// metric by its unit.
func jobs() []job {
	return []job{
		{"dispatch", func(ctx context.Context) ([]figure, error) {
			return goTest(ctx, "./plugins", "BenchmarkDispatch/outstanding=256", "20000x",
				figure{name: "a job through the stream, under load", unit: "cpu-us/job", bar: 15})
		}},
		{"poll", func(ctx context.Context) ([]figure, error) { return pollRatios(ctx) }},
		{"scheduler", func(ctx context.Context) ([]figure, error) {
			return goTest(ctx, "./core", "BenchmarkScheduler1000Peers", "1s",
				figure{name: "scheduler, 1000 peers, 3 probes", unit: "ns/job"})
		}},
		{"store", func(ctx context.Context) ([]figure, error) {
			return goTest(ctx, "./core/store", "BenchmarkSaveResults/group=256/metrics=0", "1s",
				figure{name: "store, a result of 256 in a transaction", unit: "cpu-us/result"})
		}},
		{"store-group", func(ctx context.Context) ([]figure, error) {
			return goTest(ctx, "./core/store", "BenchmarkSaveResults/group=10/metrics=0", "1s",
				figure{name: "store, a result of 10 in a transaction", unit: "cpu-us/result"})
		}},
		{"restart", func(ctx context.Context) ([]figure, error) {
			return goTest(ctx, "./plugins", "BenchmarkRestart", "2x",
				figure{name: "plugin killed, serving again, host alone", unit: "ms/restart", bar: 1000})
		}},
		{"paths", func(ctx context.Context) ([]figure, error) { return pathProbes(ctx) }},
		{"memory", func(ctx context.Context) ([]figure, error) { return idleNode(ctx) }},
		{"memory-without-paths", func(ctx context.Context) ([]figure, error) { return idleWithoutPaths(ctx) }},
		{"node", func(ctx context.Context) ([]figure, error) { return busyNode(ctx) }},
		{"mesh-4", func(ctx context.Context) ([]figure, error) { return meshWhole(ctx, 4, 5) }},
		{"mesh-20", func(ctx context.Context) ([]figure, error) { return meshWhole(ctx, 20, 15) }},
	}
}
