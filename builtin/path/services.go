package path

import (
	"cmp"
	"encoding/json"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// reflectorAt is what a probe knows of the target's reflector.
type reflectorAt struct {
	port uint16
	key  []byte
}

// reflectorOf finds the target's reflector; false when none is known.
func reflectorOf(t sdk.Target) (reflectorAt, bool) {
	s, ok := t.Service(serviceReflector)
	return reflectorAt{s.Port, s.Key}, ok
}

// httpsPort is where the target's web server listens: what was asked for by hand, or
// the peer's.
func httpsPort(t sdk.Target) uint16 { return cmp.Or(t.Port, t.PeerPort, defaultTCPPort) }

// unsupportedOn says why the probes do nothing on a system.
func unsupportedOn(system string) error {
	return sdk.Unsupported("%s has no error queue and kernel timestamps for UDP; path probes need Linux", system)
}

// callerOf is what this node is known by to reflectors.
func callerOf(n sdk.NodeInfo) (id callerID) {
	copy(id[:], n.SPKI)
	return id
}

// addDocument adds a structured fact to the result.
func addDocument(r *sdk.Result, name, id string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		return // a type of this package that cannot be written: none is
	}
	r.Documents = append(r.Documents, sdk.Document{Name: name, ID: id, JSON: text})
}

// addFinding adds a condition that holds now.
func addFinding(r *sdk.Result, kind, message string) {
	r.Findings = append(r.Findings, sdk.Finding{Kind: kind, Message: message})
}

// addNote adds something that has happened.
func addNote(r *sdk.Result, kind, message string) {
	r.Findings = append(r.Findings, sdk.Finding{Kind: kind, Message: message, Instant: true})
}
