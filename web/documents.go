package web

import (
	"context"
	"net/http"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// How many versions one answer lists.
const (
	someDocuments = 20
	maxDocuments  = 100
)

type documentsJSON struct {
	At        time.Time      `json:"at"`
	Node      core.NodeID    `json:"node"`
	Documents []documentJSON `json:"documents"`
}

// documentJSON is one version; Until is null while it holds.
type documentJSON struct {
	Probe string     `json:"probe"`
	At    time.Time  `json:"at"`
	Until *time.Time `json:"until"`
	wire.Document
}

// getDocuments answers GET /api/v1/nodes/{id}/documents, newest first.
func (s *Server) getDocuments(w http.ResponseWriter, r *http.Request, c caller) {
	n, ok := s.pathNode(w, r)
	if !ok {
		return
	}
	p := query(r, "name", "probe", "limit")
	q := core.DocumentQuery{
		Node: n.ID, Name: p.word("name", ""), Probe: p.word("probe", ""),
		Limit: p.number("limit", someDocuments, 1, maxDocuments),
	}
	if p.refused(w) {
		return
	}
	s.answerInTurn(w, r, c, "documents", func(ctx context.Context) (any, error) {
		found, err := s.store.Documents(ctx, q)
		if err == nil && len(found) == 0 {
			err = s.knownProbe(q.Probe)
		}
		return newDocumentsJSON(n.ID, found), err
	})
}

func newDocumentsJSON(node core.NodeID, found []core.StoredDocument) documentsJSON {
	out := documentsJSON{At: time.Now().UTC(), Node: node, Documents: make([]documentJSON, 0, len(found))}
	for _, d := range found {
		out.Documents = append(out.Documents, documentJSON{
			Probe: d.Probe, At: d.At.UTC(), Until: stamp(d.Until), Document: wire.Document{Name: d.Name, ID: d.ID, Body: d.JSON},
		})
	}
	return out
}
