// Command bench measures what NodeProbe promises and prints one table. It is
// what "make bench" runs; it needs bin/nodeprobe and bin/mesh, and Linux for
// everything that is read from /proc.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/seahow-uk/nodeprobe/builtin/path"
	"github.com/seahow-uk/nodeprobe/sdk"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == servePeersCommand {
		if err := servePeers(os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "bench peers: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == serveReflectors {
		sdk.Serve(path.Plugin())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	pick := flag.String("run", "", "measure only the jobs whose name matches this `regexp`")
	storage := flag.Bool("storage", false, "measure the store, for some minutes, instead of the node")
	torture := flag.Bool("torture", false, "do to the store what must not harm it, instead of measuring the node")
	flag.Parse()
	all := jobs()
	if *storage {
		all = storageJobs()
	}
	if *torture {
		all = tortureJobs()
	}
	if err := run(ctx, all, *pick); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// figure is a row of the table.
type figure struct {
	name  string
	value float64
	unit  string
	// bar is the most that the value may be; 0: the figure is only told.
	bar float64
}

func (f figure) verdict() string {
	switch {
	case f.bar == 0:
		return ""
	case f.value <= f.bar:
		return "ok"
	}
	return "over"
}

// job measures one or more figures.
type job struct {
	name    string
	measure func(context.Context) ([]figure, error)
}

// run does the jobs one after the other: each has the machine to itself. What
// cannot be measured is an error; what is over its bar is not.
func run(ctx context.Context, all []job, pick string) error {
	match, err := regexp.Compile(pick)
	if err != nil {
		return err
	}
	var table []figure
	var errs []error
	for _, j := range all {
		if !match.MatchString(j.name) || ctx.Err() != nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s\n", j.name)
		figures, err := j.measure(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", j.name, err))
		}
		table = append(table, figures...)
	}
	print(table)
	return errors.Join(errs...)
}

func print(table []figure) {
	width := len("what")
	for _, f := range table {
		width = max(width, len(f.name))
	}
	fmt.Printf("%-*s  %10s  %-8s  %8s\n", width, "what", "figure", "unit", "bar")
	for _, f := range table {
		bar := "-"
		if f.bar > 0 {
			bar = fmt.Sprintf("%.4g", f.bar)
		}
		fmt.Printf("%-*s  %10.4g  %-8s  %8s  %s\n", width, f.name, f.value, f.unit, bar, f.verdict())
	}
}
