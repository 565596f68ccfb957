package web

// The kinds of changes that the stream knows. The payload decides the shape: a
// core.Node, core.Event, []core.Result, core.PluginStatus.
const (
	ChangeNode    = "node"
	ChangeEvent   = "event"
	ChangeResults = "results"
	ChangePlugin  = "plugin"
)
