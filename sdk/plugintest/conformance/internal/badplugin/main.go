// Command badplugin keeps the contract, but for the one point that its argument
// names: what the checks of the conformance suite must find.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// fault is what this process does wrong; empty: nothing.
var fault = ""

// is tells that the process has one of these faults.
func is(faults ...string) bool { return slices.Contains(faults, fault) }

func main() {
	if len(os.Args) > 1 {
		fault = os.Args[1]
	}
	if os.Getenv(sdk.Handshake.MagicCookieKey) != sdk.Handshake.MagicCookieValue {
		alone()
	}
	switch fault {
	case "hangs at start":
		time.Sleep(time.Minute)
	case "prints before the handshake":
		fmt.Println("welcome")
	case "dies at start":
		fmt.Fprintln(os.Stderr, "no licence")
		os.Exit(3)
	}
	if !is("outlives its host") {
		go lifeline()
	}
	if is("ignores SIGTERM") {
		signal.Ignore(syscall.SIGTERM)
	}
	serve()
}

// alone is what it does without a host.
func alone() {
	switch fault {
	case "is silent without a host":
		os.Exit(1)
	case "prints without a host":
		fmt.Println("usage")
	case "goes on without a host":
		time.Sleep(time.Minute)
	}
	fmt.Fprintln(os.Stderr, "a plugin of NodeProbe")
	if is("exits with 0 without a host") {
		os.Exit(0)
	}
	os.Exit(1)
}

func lifeline() {
	fd, err := strconv.Atoi(os.Getenv(sdk.EnvLifeline))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, os.NewFile(uintptr(fd), "lifeline"))
	os.Exit(0)
}

type config struct {
	Port uint16 `json:"port"`
}

func serve() {
	// The SDK answers for configuration; jobs and batches are done by hand.
	good, err := sdk.NewServer(sdk.NewPlugin("bad", "1.0.0",
		sdk.NewProbe("probe", "1.0.0", func(config, sdk.Env) (sdk.Prober, error) { return sdk.ProberFunc(nil), nil }),
		sdk.NewReporter("reporter", "1.0.0", func(config, sdk.Env) (sdk.Reporter, error) { return sdk.ReporterFunc(nil), nil }),
	), hclog.NewNullLogger())
	if err != nil {
		panic(err)
	}
	p := newPlugin(good)
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  sdk.Handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{sdk.ProtocolVersion: {sdk.DispenseName: bridge{plugin: p}}},
		Logger:           hclog.NewNullLogger(),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			if is("takes messages of any size") {
				return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(1<<30))...)
			}
			return grpc.NewServer(append(opts, sdk.ServerOptions()...)...)
		},
	})
}

type bridge struct {
	goplugin.NetRPCUnsupportedPlugin
	plugin *plugin
}

func (b bridge) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServer(s, b.plugin)
	pluginv1.RegisterProberServer(s, b.plugin)
	pluginv1.RegisterReporterServer(s, b.plugin)
	return nil
}

func (bridge) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}
