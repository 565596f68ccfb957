package builtin

import (
	"github.com/seahow-uk/nodeprobe/builtin/https"
	"github.com/seahow-uk/nodeprobe/builtin/path"
	"github.com/seahow-uk/nodeprobe/builtin/report"
	"github.com/seahow-uk/nodeprobe/sdk"
)

// Name of the plugin that offers everything that ships.
const Name = "builtin"

const version = "1.0.0"

// inFlight jobs at once: as many as a large mesh has when half of it is gone. Those
// that wait for an answer must not keep the polls of the other half waiting; nor do
// traces and searches, which may have three quarters of the places.
const inFlight = 1024

// All is the built-in plugins by name. All that ship share one process: each further
// one takes 6 MiB before it does anything, and a node should do with 45.
func All() map[string]sdk.Plugin {
	parts := append(path.Parts(), https.Part(sdk.MaxInFlight(inFlight)), report.Part())
	return map[string]sdk.Plugin{Name: sdk.NewPlugin(Name, version, parts...)}
}
