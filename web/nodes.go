package web

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

type nodesJSON struct {
	At         time.Time  `json:"at"`
	Self       selfJSON   `json:"self"`
	Candidates int        `json:"candidates"`
	Nodes      []nodeJSON `json:"nodes"`
}

// getNodes answers GET /api/v1/nodes.
func (s *Server) getNodes(w http.ResponseWriter, r *http.Request, _ caller) {
	if query(r).refused(w) {
		return
	}
	view, _ := s.engine.View()
	measured, found := s.byDestination(view), s.findings()
	out := nodesJSON{
		At: time.Now().UTC(), Self: newSelfJSON(s.self, s.ip(r)),
		Candidates: s.mesh.Candidates(), Nodes: []nodeJSON{},
	}
	for _, n := range s.peers() {
		node := newNodeJSON(n)
		node.Paths, node.Findings = measured[n.ID], found[n.ID]
		out.Nodes = append(out.Nodes, node)
	}
	writeJSON(w, http.StatusOK, out)
}

// peers are the nodes in the order in which they are shown: by name, then id.
func (s *Server) peers() []core.Node {
	return slices.SortedFunc(slices.Values(s.mesh.Nodes()), func(a, b core.Node) int {
		return cmp.Or(cmp.Compare(a.Name(), b.Name()), slices.Compare(a.ID[:], b.ID[:]))
	})
}

func (s *Server) byDestination(view []core.PathStatus) map[core.NodeID][]ownPath {
	out := map[core.NodeID][]ownPath{}
	identifying := s.probe("").Name
	for _, p := range view {
		out[p.Destination] = append(out[p.Destination], ownPath{Path: wire.NewPath(p), Identifies: p.Probe == identifying})
	}
	return out
}

// getNode answers GET /api/v1/nodes/{id}.
func (s *Server) getNode(w http.ResponseWriter, r *http.Request, _ caller) {
	n, ok := s.pathNode(w, r)
	if !ok || query(r).refused(w) {
		return
	}
	view, _ := s.engine.View()
	out := newNodeJSON(n)
	out.Paths, out.Findings = s.byDestination(view)[n.ID], s.findings()[n.ID]
	for i := range out.Paths {
		out.Paths[i].Attributes = s.engine.Attributes(n.ID, out.Paths[i].Probe)
	}
	writeJSON(w, http.StatusOK, out)
}

// pathNode is the node in the path; without one the request is answered.
func (s *Server) pathNode(w http.ResponseWriter, r *http.Request) (core.Node, bool) {
	id, ok := pathID(w, r)
	if !ok {
		return core.Node{}, false
	}
	n, ok := s.mesh.Node(id)
	if !ok {
		failJSON(w, http.StatusNotFound, "no node with this id is known")
	}
	return n, ok
}
