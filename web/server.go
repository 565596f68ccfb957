package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

// Timeouts of a connection. A handshake must be done within headerTimeout; a
// peer that polls every 30 s keeps its connection.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 75 * time.Second
	// stopTimeout is how long requests in flight may take at the end.
	stopTimeout = 3 * time.Second
)

// maxHeader is the size of a request's headers; net/http adds 4 KiB.
const maxHeader = 12 << 10

// Options are what a Server works with. All interfaces must be there but
// Delivery.
type Options struct {
	Self     core.Self
	Log      hclog.Logger
	Mesh     Mesh
	Store    Store
	Engine   Engine
	Plugins  Plugins
	Delivery Delivery
	Hub      Hub
	// Health tells the truth about the node; it is asked at most four times a
	// second and should return within 2 s.
	Health func(context.Context) Health
	// Storage tells how the history stands; it may be nil.
	Storage func(context.Context) (core.Storage, error)
	// Counts tells what is known of the history when it cannot be read; it may be
	// nil.
	Counts func() core.StorageCounts
	// AllowedHosts are the names, besides Self's, by which browsers may reach the
	// node: those in its certificate and those of its configuration.
	AllowedHosts func() []string
	// Reload reads the configuration again; the error tells why it was refused.
	Reload func(context.Context) error
	// ServiceKey is what a caller with that key proves itself to a service with;
	// nil: nobody is told of services.
	ServiceKey func(service string, caller core.KeyHash) core.ServiceKey
	Limits     Limits
}

// Server answers HTTP requests. All methods may be called concurrently.
type Server struct {
	self         core.Self
	log          hclog.Logger
	mesh         Mesh
	store        Store
	engine       Engine
	plugins      Plugins
	delivery     Delivery
	hub          Hub
	storage      func(context.Context) (core.Storage, error)
	counts       func() core.StorageCounts
	allowedHosts func() []string
	reloadConfig func(context.Context) error
	serviceKey   func(service string, caller core.KeyHash) core.ServiceKey
	limits       Limits

	throttle *throttle
	intake   *intake
	streams  *gate
	turns    *turns
	infos    infoCache
	health   healthCache
	pages    pages

	stopOnce sync.Once
	stopping chan struct{} // closed when streams must end
}

// New makes a server from o.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	limits := o.Limits.withDefaults()
	return &Server{
		self: o.Self, log: o.Log, mesh: o.Mesh, store: o.Store, engine: o.Engine,
		plugins: o.Plugins, delivery: o.Delivery, hub: o.Hub,
		storage: o.Storage, counts: o.Counts, allowedHosts: o.AllowedHosts, reloadConfig: o.Reload, serviceKey: o.ServiceKey, limits: limits,
		throttle: newThrottle(limits), intake: newIntake(), streams: newGate(limits.Streams),
		turns: newTurns(), health: healthCache{ask: o.Health},
		pages: loadPages(), stopping: make(chan struct{}),
	}
}

// Handler is what the HTTPS port serves.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.Handle(rt.pattern, s.guard(rt))
	}
	return s.front(mux)
}

// AdminHandler is what the admin socket serves: everything that Handler does,
// without limits, and what changes the node. Whoever can reach it may do
// everything: it belongs on a unix socket of mode 0600 and nowhere else.
func (s *Server) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range append(s.routes(), s.adminRoutes()...) {
		mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) {
			rt.handler(w, r, caller{})
		})
	}
	return s.front(mux)
}

// front is what every request passes before and around mux.
func (s *Server) front(mux *http.ServeMux) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		failJSON(w, http.StatusForbidden, "requests of other sites that change something are refused")
	}))
	return s.secure(origins.Handler(refuseInJSON(mux)))
}

// Serve answers on ln, which it closes, until ctx ends; then it gives requests
// in flight 3 s. config must be able to give a certificate and should ask for
// the client's. The error is nil when ctx ended it.
func (s *Server) Serve(ctx context.Context, ln net.Listener, config *tls.Config) error {
	srv := s.httpServer()
	srv.TLSConfig = config.Clone()
	limited := newLimitListener(ln, s.limits.Connections, s.limits.ConnectionsPerIP)
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(limited, "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.stopOnce.Do(func() { close(s.stopping) })
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close() // whoever is still there has had its time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func (s *Server) httpServer() *http.Server {
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 64, MaxReceiveBufferPerConnection: 256 << 10, MaxReceiveBufferPerStream: 64 << 10},
		// What goes wrong with one connection is the other side's doing.
		ErrorLog: s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	TellPathMTU(srv)
	return srv
}
