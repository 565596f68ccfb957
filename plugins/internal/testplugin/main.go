// Command testplugin is a plugin for the host's tests. It speaks the contract
// by hand, below the SDK, so that it can break every rule of it. How it starts
// is in the environment variable TESTPLUGIN, what its probes do in their
// configuration.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// The process's own pipes: go-plugin replaces os.Stdout and os.Stderr.
var rawStdout, rawStderr = os.Stdout, os.Stderr

func main() {
	if file := os.Getenv("TESTPLUGIN_STARTS"); file != "" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(f, os.Getpid())
			f.Close()
		}
	}
	hs := sdk.Handshake
	version := 1
	mode := os.Getenv("TESTPLUGIN")
	switch mode {
	case "sdk":
		serveSDK()
		return
	case "hang":
		time.Sleep(time.Minute)
	case "hang-after-handshake":
		fmt.Printf("1|1|unix|%s|grpc|\n", os.Getenv("TESTPLUGIN_SOCKET"))
		time.Sleep(time.Minute)
	case "panic":
		panic("boom at start")
	case "exit":
		fmt.Fprintln(os.Stderr, "no licence for this host")
		os.Exit(3)
	case "print":
		fmt.Println("hi there")
		return
	case "cookie":
		hs.MagicCookieValue = "another program's"
	case "version":
		version = 9
	case "crash-soon":
		time.AfterFunc(20*time.Millisecond, func() { panic("boom soon") })
	}
	if mode != "deaf" {
		go lifeline()
	}
	p := &server{mode: mode, started: time.Now()}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  hs,
		VersionedPlugins: map[int]goplugin.PluginSet{version: {sdk.DispenseName: contract{server: p}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
	})
}

func lifeline() {
	fd, err := strconv.Atoi(os.Getenv(sdk.EnvLifeline))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, os.NewFile(uintptr(fd), "lifeline"))
	os.Exit(0)
}

type contract struct {
	goplugin.NetRPCUnsupportedPlugin
	server *server
}

func (c contract) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServer(s, c.server)
	pluginv1.RegisterReporterServer(s, c.server)
	if c.server.mode != "reporter" {
		pluginv1.RegisterProberServer(s, c.server)
	}
	return nil
}

func (contract) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// grandchild leaves a process behind that holds stdout and stderr, in a group
// and session of its own.
func grandchild() {
	cmd := exec.Command("sleep", "20")
	cmd.Stdout, cmd.Stderr = rawStdout, rawStderr
	detach(cmd)
	if err := cmd.Start(); err == nil {
		fmt.Fprintln(rawStderr, "grandchild", cmd.Process.Pid)
	}
	os.Exit(5)
}
