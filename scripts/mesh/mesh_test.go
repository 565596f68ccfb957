package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/scripts/ports"
)

// pretend in the environment makes the test binary a node that sees as many
// peers alive as it says; a negative number makes it end instead.
const pretend = "MESH_TEST_ALIVE"

func TestMain(m *testing.M) {
	if os.Getenv(pretend) != "" {
		os.Exit(beNode(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// beNode answers on the admin socket until it is asked to stop, and then leaves
// a word behind.
func beNode(args []string) int {
	var data string
	for i, a := range args {
		if a == "--data-dir" {
			data = args[i+1]
		}
	}
	alive := 0
	fmt.Sscan(os.Getenv(pretend), &alive)
	if alive < 0 {
		fmt.Fprintln(os.Stderr, "the disk is full")
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	_ = os.MkdirAll(data, 0o700)
	l, err := net.Listen("unix", filepath.Join(data, "admin.sock"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go http.Serve(l, pretended(filepath.Base(filepath.Dir(data)), alive))
	<-ctx.Done()
	if os.WriteFile(filepath.Join(data, "stopped"), nil, 0o600) != nil {
		return 1
	}
	return 0
}

// pretended answers as a node of the mesh that sees so many others of it alive,
// and a stranger, who has joined, and one node that is down.
func pretended(self string, alive int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/summary", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"self":{"id":%q}}`, self)
	})
	mux.HandleFunc("/api/v1/nodes", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"nodes":[{"id":"gone","state":"down"},{"id":"stranger","state":"alive"}`)
		for i, told := 1, 0; told < alive; i++ {
			if id := fmt.Sprintf("node%d", i); id != self {
				fmt.Fprintf(w, `,{"id":%q,"state":"alive"}`, id)
				told++
			}
		}
		fmt.Fprint(w, `]}`)
	})
	return mux
}

// arguments are those of a mesh of three pretended nodes; it returns where their data is.
func arguments(t *testing.T, alive string, more ...string) (args []string, dir string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("nodes on Windows are killed, not asked")
	}
	t.Setenv(pretend, alive)
	dir, err := os.MkdirTemp("", "mesh") // short: the path of a socket is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	args = []string{"-binary", os.Args[0], "-dir", dir, "-nodes", "3", "-base-port", fmt.Sprint(ports.Must(3))}
	return append(args, more...), dir
}

// allStopped tells that every node was asked and ended in order.
func allStopped(t *testing.T, dir string) {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(dir, "node*", "data", "stopped"))
	if len(found) != 3 {
		t.Errorf("got %d nodes that stopped in order, want 3: %v", len(found), found)
	}
}

func TestUntilWhole(t *testing.T) {
	args, dir := arguments(t, "2", "-until-whole")
	if err := run(t.Context(), args); err != nil {
		t.Error(err)
	}
	allStopped(t, dir)
	seed, err := os.ReadFile(filepath.Join(dir, "node3", "configs", "seed.json"))
	if err != nil || !strings.Contains(string(seed), args[len(args)-2]) {
		t.Errorf("got seeds %s (%v), want node1's port %s", seed, err, args[len(args)-2])
	}
	if _, err := os.Stat(filepath.Join(dir, "node1", "configs", "seed.json")); err == nil {
		t.Error("got seeds for node1, want none")
	}
}

func TestProgress(t *testing.T) {
	p := progress{want: 6, alive: -1}
	for i, step := range []struct {
		alive int
		want  string
	}{
		{0, "0 of 6 paths alive"},
		{0, ""},
		{6, "whole after 1.50s: all 6 paths alive"},
		{5, "5 of 6 paths alive"},
		{6, "whole again: all 6 paths alive"},
	} {
		if got := p.tell(step.alive, 1500*time.Millisecond); got != step.want {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
	}
}

func TestNeverWhole(t *testing.T) {
	args, dir := arguments(t, "1", "-until-whole", "-limit", "1s")
	err := run(t.Context(), args)
	if err == nil || !strings.Contains(err.Error(), "not whole after 1s: 3 of 6 paths alive") {
		t.Errorf("got %v, want it not whole", err)
	}
	allStopped(t, dir)
}

func TestInterrupt(t *testing.T) {
	args, dir := arguments(t, "2")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(2*time.Second, cancel)
	if err := run(ctx, args); err != nil {
		t.Error(err)
	}
	allStopped(t, dir)
}

func TestNodeThatDies(t *testing.T) {
	args, _ := arguments(t, "-1")
	err := run(t.Context(), args)
	if err == nil || !strings.Contains(err.Error(), "ended (exit status 1)") || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("got %v, want the node's end and its last words", err)
	}
}

func TestRefusals(t *testing.T) {
	args, dir := arguments(t, "2")
	old := filepath.Join(dir, "node1", "data", "nodeprobe.db")
	if err := os.MkdirAll(filepath.Dir(old), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	for _, c := range []struct {
		name string
		more []string
		want string
	}{
		{"port taken", []string{"-base-port", port}, "port " + port + " for node1: "},
		{"no binary", []string{"-binary", filepath.Join(dir, "missing")}, `"make build" makes it`},
		{"one node", []string{"-nodes", "1"}, "-nodes 1: want 2 or more"},
		{"ports beyond the last", []string{"-base-port", "65534"}, "-base-port 65534: want 3 ports between 1 and 65535"},
		{"argument", []string{"four"}, `unexpected argument "four"`},
	} {
		err := run(t.Context(), append(args, c.more...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := os.Stat(old); err != nil {
		t.Errorf("a mesh that was refused touched the last one's data: %v", err)
	}
}
