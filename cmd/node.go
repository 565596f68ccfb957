package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/config"
	"github.com/seahow-uk/nodeprobe/core/delivery"
	"github.com/seahow-uk/nodeprobe/core/identity"
	"github.com/seahow-uk/nodeprobe/core/membership"
	"github.com/seahow-uk/nodeprobe/core/store"
	"github.com/seahow-uk/nodeprobe/plugins"
	"github.com/seahow-uk/nodeprobe/web"
)

// node is a running NodeProbe: every part, and how they are joined.
//
//	plugins.Host --results--> core.Engine --commits--> store
//	     ^                      |     ^                  | outbox
//	     +------jobs------------+     | peers, dials     v
//	                      membership.Mesh            delivery --batches--> plugins.Host
//	                            ^ callers
//	                       web.Server <--views, series, events-- all of them
type node struct {
	cfg       atomic.Pointer[config.Config]
	started   *config.Config // what was in force at the start; never changed
	loaded    config.Content // what the files said at the start
	log       hclog.Logger
	self      core.Self
	identity  *identity.Identity
	store     *store.Store
	journal   *core.Journal
	hub       core.Hub
	host      *plugins.Host
	engine    *core.Engine
	mesh      *membership.Mesh
	delivery  *delivery.Delivery
	web       *web.Server
	listener  net.Listener
	admin     net.Listener
	reloading reloader
	hup       <-chan os.Signal // SIGHUP
	drops     chan struct{}    // the store has dropped history for want of room
	mishap    atomic.Pointer[mishap]
	plugins   sync.Mutex // pluginsChanged calls take turns
}

// newNode builds a node from its settings. Whatever can be wrong with the host
// (port, directories, key, second process) is found here; the error is one
// sentence that says what to do.
func newNode(ctx context.Context, load func() (*config.Config, error), cfg *config.Config, log hclog.Logger) (_ *node, err error) {
	n := &node{log: log, started: cfg, reloading: reloader{load: load}, drops: make(chan struct{}, 1)}
	n.cfg.Store(cfg)
	n.loaded = config.ContentOf(cfg.Files())
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	if err := n.startPlugins(ctx); err != nil {
		return nil, err
	}
	if err := n.joinMesh(ctx); err != nil {
		return nil, err
	}
	n.serve()
	return n, nil
}

// open takes what only one process can have, and opens what is on disk. The lock
// comes first: a second process must not renew the first one's certificate. Then
// the port: a node that cannot have it leaves nothing behind in the directory.
func (n *node) open(ctx context.Context) error {
	o := storeOptions(n.config())
	lock, err := store.TakeLock(o.Path)
	switch {
	case errors.Is(err, store.ErrLocked):
		return err
	case err != nil:
		return fmt.Errorf("%w; make it writable for this user, or choose another with --data-dir", err)
	}
	if n.listener, err = n.listenTCP(); err != nil {
		return errors.Join(err, lock.Close())
	}
	if n.identity, err = identity.Open(n.config().DataDir, identity.Options{CertDir: n.config().CertDir, Log: n.log.Named("identity"), Hosts: n.hosts}); err != nil {
		return errors.Join(err, lock.Close())
	}
	if n.self, err = describeSelf(n.config(), n.identity, n.listener.Addr()); err != nil {
		return errors.Join(err, lock.Close())
	}
	o.Lock = lock
	if err := n.openStore(ctx, o); err != nil {
		return err
	}
	n.admin, err = listenAdmin(adminSocket(n.config().DataDir))
	return err
}

// openStore opens the database, and the events left open. It has the lock.
func (n *node) openStore(ctx context.Context, o store.Options) (err error) {
	o.Self, o.Log, o.Records, o.Dropped = n.identity.ID(), n.log.Named("store"), n.records, n.dropped
	n.store, err = store.Open(ctx, o)
	if err != nil {
		return err
	}
	open, err := n.store.Events(ctx, core.EventQuery{Open: true, Limit: 1000})
	if err != nil {
		return err
	}
	n.journal = core.NewJournal(open, n.store.SaveEvents, n.log.Named("journal"))
	// This process has read its files and opened its history: what the one before
	// said of them is over.
	n.journal.End(core.EventConfigRejected, configuration)
	n.journal.End(core.EventStorageProblem, history)
	n.journal.OnChange = func(e core.Event) { n.hub.Publish(core.Change{Kind: web.ChangeEvent, Payload: e}) }
	n.store.OnMishap(n.mishapped)
	return nil
}

// mishapped is told by the store what happened to its file.
func (n *node) mishapped(m store.Mishap) {
	n.mishap.Store(&mishap{at: time.Now(), text: m.Text})
	n.journal.Note(core.EventStorageProblem, history, m.Text)
}

// records is asked by the store for the outbox rows of a transaction.
func (n *node) records(rs []core.Result, es []core.Event) []core.Record {
	if n.delivery == nil {
		return nil
	}
	return n.delivery.Records(rs, es)
}

// fallbackListen is for users who may not bind the port of the wire contract.
const fallbackListen = ":8443"

// listenTCP listens where the configuration says. A user who said nothing, and
// may not bind port 443, gets a port that needs no privilege.
func (n *node) listenTCP() (net.Listener, error) {
	at := n.config().Listen
	l, err := net.Listen("tcp", at)
	if errors.Is(err, fs.ErrPermission) && at == config.Default().Listen {
		n.log.Warn("this user may not listen on the default port; peers must name the other one", "default", at, "listen", fallbackListen)
		at = fallbackListen
		l, err = net.Listen("tcp", at)
	}
	return l, config.ListenError(at, err)
}

// startPlugins starts the plugin processes and gives the engine their probes.
func (n *node) startPlugins(ctx context.Context) error {
	n.host = plugins.New(plugins.Options{
		Log: n.log.Named("plugins"),
		Node: plugins.NodeInfo{
			ID: n.self.ID.String(), FQDN: n.self.FQDN, Version: n.self.Version,
			BootID: n.self.BootID, Advertise: n.self.Advertise.String(), SPKI: n.self.Key,
		},
		RunDir:  filepath.Join(n.config().DataDir, "run"),
		Grant:   n.grant,
		Changed: n.pluginsChanged,
		State:   n.store,
	})
	n.engine = core.NewEngine(core.EngineOptions{
		Dispatcher:  n.host,
		Store:       n.store,
		Observe:     n.observe,
		Committed:   n.committed,
		StoreFailed: n.storeFailed,
		Log:         n.log.Named("engine"),
		Journal:     n.journal,
		Open:        n.journal.Open(),
		Self:        n.self.ID,
	})
	n.delivery = delivery.New(delivery.Options{
		Deliver:       n.host.Deliver,
		Outbox:        n.store,
		Snapshot:      n.snapshot,
		SnapshotEvery: n.config().ReportEvery,
		Journal:       n.journal,
		Log:           n.log.Named("delivery"),
	})
	n.identity.OnRenew(func() { n.host.Regrant(context.WithoutCancel(ctx)) })
	if err := n.host.Apply(ctx, specs(n.config())); err != nil {
		return placed(n.config(), err)
	}
	n.pluginsChanged()
	return n.delivery.Register(ctx)
}

// joinMesh makes the membership from the seeds and the nodes known before.
func (n *node) joinMesh(ctx context.Context) error {
	known, err := n.store.Nodes(ctx)
	if err != nil {
		return err
	}
	n.mesh = membership.New(membership.Options{
		Self:     n.self,
		Trust:    membership.Trust(n.config().Trust),
		Interval: n.pollInterval(),
		Seeds:    seeds(n.config()),
		Known:    known,
		Open:     n.journal.Open(),
		Policy:   policy(n.config(), n.listener.Addr()),
		Store:    n.store,
		Journal:  n.journal,
		Dialer:   n.engine,
		Peers:    n.engine.SetPeers,
		Changed:  func(p core.Node) { n.hub.Publish(core.Change{Kind: web.ChangeNode, Payload: p}) },
		Log:      n.log.Named("membership"),
	})
	return nil
}

func (n *node) serve() {
	n.web = web.New(web.Options{
		Self: n.self, Log: n.log.Named("web"),
		Mesh: n.mesh, Store: memory{n.store, n.engine, n.journal}, Engine: n.engine, Plugins: n.host, Delivery: n.delivery, Hub: &n.hub,
		Health:       n.checkHealth,
		Storage:      n.store.Storage,
		Counts:       n.store.Counts,
		ServiceKey:   n.identity.ServiceKey,
		AllowedHosts: func() []string { return append(n.hosts(), n.config().Web.AllowedHosts...) },
		Reload:       n.reload,
		Limits:       webLimits(openFiles()),
	})
}

// webLimits leaves half of the files that may be open to the database, the
// plugins and the commands, whatever callers do.
func webLimits(openFiles uint64) web.Limits {
	l := web.DefaultLimits()
	if half := openFiles / 2; half > 0 && half < uint64(l.Connections) {
		l.Connections = int(half)
	}
	return l
}

// stopTimeout bounds the whole of a stop; container runtimes kill after 10 s.
const stopTimeout = 9 * time.Second

// run serves until ctx ends, then says goodbye and stops the parts in the order
// in which they feed each other.
func (n *node) run(ctx context.Context) error {
	n.journal.Note(core.EventNodeStarted, n.self.ID.String(), "node started, version "+n.self.Version)
	n.log.Info("node started", "id", n.self.ID, "listen", n.listener.Addr().String(), "dashboard", "https://"+n.self.Advertise.String()+"/dashboard", "version", n.self.Version)

	base := context.WithoutCancel(ctx)
	sinks := newStage(base)     // whatever takes results
	producers := newStage(base) // whatever makes them
	sinks.start("journal", n.journal.Run)
	sinks.start("identity", n.identity.Run)
	sinks.start("plugins", n.host.Run)
	producers.start("engine", n.engine.Run)
	producers.start("delivery", n.delivery.Run)
	producers.start("membership", n.mesh.Run)
	producers.start("web", n.runWeb)
	producers.start("admin", n.runAdmin)
	producers.start("configuration", n.watchConfig)
	producers.start("storage", n.watchStorage)

	select {
	case <-ctx.Done():
	case <-producers.failed:
	case <-sinks.failed:
	}
	n.log.Info("node stopping")
	bound, cancel := context.WithTimeout(base, stopTimeout)
	defer cancel()
	web.Goodbye(bound, n.identity.ClientTLS, n.mesh.Nodes())
	err := stopStages(bound, producers, sinks)
	n.close()
	n.log.Info("node stopped")
	return err
}

func (n *node) runWeb(ctx context.Context) error {
	return n.web.Serve(ctx, n.listener, n.identity.ServerTLS())
}

func (n *node) runAdmin(ctx context.Context) error {
	return serveAdmin(ctx, n.admin, n.web.AdminHandler(), n.log.Named("admin"))
}

// config is the configuration in force.
func (n *node) config() *config.Config { return n.cfg.Load() }

// close gives back what newNode took; run has stopped everything else.
func (n *node) close() {
	if n.listener != nil {
		n.listener.Close()
	}
	if n.admin != nil {
		n.admin.Close()
	}
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			n.log.Error("store not closed cleanly", "error", err)
		}
	}
}
