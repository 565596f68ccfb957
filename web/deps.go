package web

import (
	"context"

	"github.com/seahow-uk/nodeprobe/core"
)

// Mesh is the membership.
type Mesh interface {
	Members
	Contacts
}

// Members tells who is in the mesh. Slices that it returns are not changed by
// either side.
type Members interface {
	Nodes() []core.Node
	Node(id core.NodeID) (core.Node, bool)
	ByKey(key core.KeyHash) (core.Node, bool)
	// Shared is what may be passed on; version moves when it changes.
	Shared() (nodes []core.Node, version uint64)
	Candidates() int
	// SeedProblems are sentences on the seeds that lead to no node.
	SeedProblems() []string
}

// Contacts is told what callers and the operator do.
type Contacts interface {
	// Caller takes the ways to dial back somebody who called; key is zero when
	// the caller is anonymous.
	Caller(key core.KeyHash, at ...core.Endpoint)
	// Goodbye tells that the peer with this key is about to stop; false when
	// there is none.
	Goodbye(key core.KeyHash) bool
	Forget(id core.NodeID) error
}

// Store is the history.
type Store interface {
	Events(ctx context.Context, q core.EventQuery) ([]core.Event, error)
	// Documents are newest first.
	Documents(ctx context.Context, q core.DocumentQuery) ([]core.StoredDocument, error)
	History(ctx context.Context, q core.HistoryQuery) ([]core.Bucket, error)
	Percentiles(ctx context.Context, q core.WindowQuery) ([]core.PathSummary, error)
	// Matrix is the result of every known path, self's and peers': the latest, or
	// the one at a time.
	Matrix(ctx context.Context, q core.MatrixQuery) (core.Matrix, error)
	// Reports and ReportsOf are what other nodes sent, newest first.
	Reports(ctx context.Context) ([]core.ReportInfo, error)
	ReportsOf(ctx context.Context, id core.NodeID) ([]core.Report, error)
	SaveReport(ctx context.Context, r core.Report) error
}

// Engine runs the probes.
type Engine interface {
	// View is self's latest results; version moves when they are worth sending.
	View() (paths []core.PathStatus, version uint64)
	// Attributes are what the latest run of a probe told of the path to a node.
	Attributes(node core.NodeID, probe string) map[string]string
	// Findings are the conditions that hold on self's paths, by node.
	Findings() []core.OpenFinding
	Probe(ctx context.Context, probe string, t core.Target) (core.Result, error)
	Stats() core.EngineStats
}

// Plugins is the host of the plugins.
type Plugins interface {
	Status() []core.PluginStatus
	Probes() []core.ProbeInfo
	Enable(name string) error
	// Services are what plugins run for other nodes.
	Services() []core.Service
}

// Delivery hands records to reporters.
type Delivery interface {
	Status() []core.ReporterStatus
}

// Hub spreads what changes.
type Hub interface {
	// Subscribe begins a subscription that ends with cancel. A subscriber that
	// lets more than buffer changes wait loses the oldest and gets one of kind
	// "dropped" with their number.
	Subscribe(buffer int) (changes <-chan core.Change, cancel func())
}
