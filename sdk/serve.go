package sdk

import (
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// Serve is the whole of a plugin's main function: it serves p until the host ends
// it. It exits with 1 when p is not well made, or when no NodeProbe host started
// the process.
func Serve(p Servable) {
	if os.Getenv(Handshake.MagicCookieKey) != Handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "This is a plugin of NodeProbe, started by its host. To look at it, run: nodeprobe plugin check %s\n", os.Args[0])
		os.Exit(1)
	}
	log := newLogger()
	server, err := NewServer(p, log)
	if err != nil {
		fmt.Fprintf(os.Stderr, "the plugin is not well made: %v\n", err)
		os.Exit(1)
	}
	server.pool.idle = newIdler(freeMemory)
	go watchLifeline(os.Getenv(EnvLifeline))
	var current atomic.Pointer[grpc.Server]
	go endOnSignal(server, &current)
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  Handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{ProtocolVersion: {DispenseName: &bridge{server: server}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			s := grpc.NewServer(append(opts, ServerOptions()...)...)
			current.Store(s)
			return s
		},
		Logger: log,
	})
	server.Close()
}

// endOnSignal answers SIGTERM: runs in flight end, their results are sent, then
// Serve returns. The host's own streams (logs) may stay open, hence the limit.
func endOnSignal(server *Server, current *atomic.Pointer[grpc.Server]) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	s := current.Load()
	if s == nil {
		os.Exit(0)
	}
	server.Drain()
	time.AfterFunc(stopTime, s.Stop)
	s.GracefulStop()
}

// stopTime is how long results that are on their way have.
const stopTime = 500 * time.Millisecond

// newLogger writes JSON to the real stderr, which go-plugin replaces for authors:
// the host reads the lines.
func newLogger() hclog.Logger {
	level := hclog.LevelFromString(os.Getenv(EnvLogLevel))
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	return hclog.New(&hclog.LoggerOptions{Level: level, Output: os.Stderr, JSONFormat: true})
}

// Windows of gRPC: fixed, because measuring the path costs pings, and it is a
// socket on this machine. A batch of results goes through a buffer in one piece;
// idle connections hold none: gRPC lends them by default.
const (
	windowBytes = 64 << 10
	bufferBytes = 16 << 10
)

// ServerOptions are the plugin's side of a connection. For hosts and tests.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		withCodec(),
		grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.MaxSendMsgSize(MaxMessageBytes),
		grpc.StaticStreamWindowSize(windowBytes), grpc.StaticConnWindowSize(windowBytes),
		grpc.ReadBufferSize(bufferBytes), grpc.WriteBufferSize(bufferBytes),
	}
}

// DialOptions are the host's side of a connection. For hosts and tests.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
		grpc.WithStaticStreamWindowSize(windowBytes), grpc.WithStaticConnWindowSize(windowBytes),
		grpc.WithReadBufferSize(bufferBytes), grpc.WithWriteBufferSize(bufferBytes),
	}
}
