// Command mesh runs a mesh of nodes on this machine, on neighbouring ports of
// 127.0.0.1, until it is interrupted. Every node but the first has the first as
// its only seed and reports to it. It is what "make run" runs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	binary     string
	dir        string
	nodes      int
	basePort   int
	interval   time.Duration
	logLevel   string
	keep       bool
	untilWhole bool
	limit      time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(os.Stderr, "mesh: %v\n", err)
		}
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("mesh", flag.ContinueOnError)
	fs.StringVar(&o.binary, "binary", filepath.Join("bin", "nodeprobe"), "`path` of nodeprobe")
	fs.StringVar(&o.dir, "dir", ".mesh", "`directory` for the nodes' data; its node* folders are replaced")
	fs.IntVar(&o.nodes, "nodes", 4, "how many nodes")
	fs.IntVar(&o.basePort, "base-port", 8443, "`port` of the first node")
	fs.DurationVar(&o.interval, "interval", 0, "`time` between two polls of a peer (default as nodeprobe has it)")
	fs.StringVar(&o.logLevel, "log-level", "info", "`level` of the nodes' logs")
	fs.BoolVar(&o.keep, "keep", os.Getenv("KEEP") == "1", "go on with the data of the last run (also KEEP=1)")
	fs.BoolVar(&o.untilWhole, "until-whole", false, "stop once every node sees all the others alive")
	fs.DurationVar(&o.limit, "limit", time.Minute, "`time` after which -until-whole gives up")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case o.nodes < 2:
		return o, fmt.Errorf("-nodes %d: want 2 or more", o.nodes)
	case o.basePort < 1 || o.basePort+o.nodes-1 > 65535:
		return o, fmt.Errorf("-base-port %d: want %d ports between 1 and 65535", o.basePort, o.nodes)
	}
	return o, nil
}

// run brings the mesh up, watches it, and stops all of it before it returns.
func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	m, err := newMesh(o)
	if err != nil {
		return err
	}
	defer func() {
		fmt.Println("stopping all nodes")
		err = errors.Join(err, m.stop())
	}()
	if err := m.start(); err != nil {
		return err
	}
	return m.watch(ctx)
}
