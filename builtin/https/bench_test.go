package https

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// benchServer in the environment makes the test binary the peer of the
// benchmarks, so that the CPU time of this process is the poller's alone.
const benchServer = "NODEPROBE_BENCH_SERVER"

// benchTargets is how many polls are in flight, each to a port of its own.
const benchTargets = 32

// serveBenchmark listens on benchTargets ports, prints them in one line and
// answers until its standard input ends.
func serveBenchmark() {
	cert := selfSigned(&testing.B{})
	const tag = `"1-1"`
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		ok(w, r)
	})
	for range benchTargets {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Print(l.Addr().(*net.TCPAddr).Port, " ")
		s := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
		go func() { _ = s.ServeTLS(l, "", "") }()
	}
	fmt.Println()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func startBenchServer(b *testing.B) []sdk.Target {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	var targets []sdk.Target
	for field := range strings.FieldsSeq(line) {
		t := sdk.Target{Host: "127.0.0.1"}
		if _, err := fmt.Sscan(field, &t.Port); err != nil {
			b.Fatal(err)
		}
		targets = append(targets, t)
	}
	return targets
}

// BenchmarkPoll is what a poll costs the poller: kept or new connections, with
// this package and, for comparison, with http.Transport doing the same.
func BenchmarkPoll(b *testing.B) {
	targets := startBenchServer(b)
	b.Run("keep-alive", func(b *testing.B) {
		p := newProber(b, defaults(), sdk.Env{})
		spread(b, targets, func(ctx context.Context, t sdk.Target) error {
			_, err := p.Probe(ctx, t)
			return err
		})
	})
	b.Run("new-connection", func(b *testing.B) {
		p := newProber(b, Config{}, sdk.Env{})
		spread(b, targets, func(ctx context.Context, t sdk.Target) error {
			_, err := p.Probe(ctx, t)
			return err
		})
	})
	b.Run("keep-alive-transport", func(b *testing.B) { spread(b, targets, transport(b, false)) })
	b.Run("new-connection-transport", func(b *testing.B) { spread(b, targets, transport(b, true)) })
}

// transport polls with net/http, one Transport for each target.
func transport(b *testing.B, fresh bool) func(context.Context, sdk.Target) error {
	var clients [65536]*http.Transport
	return func(ctx context.Context, t sdk.Target) error {
		c := clients[t.Port]
		if c == nil { // each port belongs to one goroutine
			c = &http.Transport{TLSClientConfig: clientTLS(nil, false), DisableCompression: true, DisableKeepAlives: fresh}
			clients[t.Port] = c
			b.Cleanup(c.CloseIdleConnections)
		}
		req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("https://%s:%d/nodeinfo", t.Host, t.Port), nil)
		if err != nil {
			return err
		}
		req.Header.Set("If-None-Match", `"1-1"`)
		resp, err := c.RoundTrip(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return err
	}
}

// spread keeps one poll per target in flight and reports the CPU time of each.
func spread(b *testing.B, targets []sdk.Target, poll func(context.Context, sdk.Target) error) {
	for _, t := range targets {
		if err := poll(b.Context(), t); err != nil {
			b.Fatal(err)
		}
	}
	var next atomic.Int64
	b.SetParallelism(benchTargets / 2) // of two cores
	b.ReportAllocs()
	b.ResetTimer()
	began := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		t := targets[int(next.Add(1)-1)%len(targets)]
		for pb.Next() {
			ctx, cancel := context.WithTimeout(context.Background(), defaultTimeout)
			if err := poll(ctx, t); err != nil {
				b.Error(err)
			}
			cancel()
		}
	})
	b.ReportMetric(float64((cpuTime()-began).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}
