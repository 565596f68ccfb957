package sdk

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// What host and plugin agree on before the first call. For the host; authors need
// none of it.
const (
	// ProtocolVersion of the contract, see proto/v1.
	ProtocolVersion = 1
	// DispenseName is what the host dispenses.
	DispenseName = "nodeprobe"
	// EnvLifeline names the environment variable with the number of an inherited
	// file descriptor: at its end of file the plugin exits at once.
	EnvLifeline = "NODEPROBE_LIFELINE_FD"
	// EnvLogLevel names the environment variable with the level of the plugin's
	// log: trace, debug, info (default), warn, error, off.
	EnvLogLevel = "NODEPROBE_LOG_LEVEL"
	// MaxMessageBytes is the size of a gRPC message in either direction.
	MaxMessageBytes = 4 << 20
	// MaxBatch is how many jobs or results are in one message.
	MaxBatch = 64
)

// Handshake is the cookie that tells a plugin that a NodeProbe host started it.
var Handshake = goplugin.HandshakeConfig{
	ProtocolVersion:  ProtocolVersion,
	MagicCookieKey:   "NODEPROBE_PLUGIN",
	MagicCookieValue: "5a2f0d6e-nodeprobe-plugin-v1",
}

// VersionedPlugins is what a host gives to go-plugin: Dispense(DispenseName) on
// its side is a *[Client].
func VersionedPlugins() map[int]goplugin.PluginSet {
	return map[int]goplugin.PluginSet{ProtocolVersion: {DispenseName: &bridge{}}}
}

// Client is the host's side of a plugin.
type Client struct {
	pluginv1.PluginClient
	pluginv1.ProberClient
	pluginv1.ReporterClient
}

// NewClient is a Client on a connection.
func NewClient(c grpc.ClientConnInterface) *Client {
	return &Client{pluginv1.NewPluginClient(c), pluginv1.NewProberClient(c), pluginv1.NewReporterClient(c)}
}

// bridge is one entry for all services: a second entry with the same service
// would end the process.
type bridge struct {
	goplugin.NetRPCUnsupportedPlugin
	server *Server // nil at the host
}

func (b *bridge) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	b.server.Register(s)
	return nil
}

func (b *bridge) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return NewClient(c), nil
}
