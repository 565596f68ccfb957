package store

import (
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// A node keeps its number as long as a view has it, also when no frame does.
func TestNamesOfViews(t *testing.T) {
	now := epoch
	w := stopped(t, Options{Now: func() time.Time { return now }})
	w.admitted[node(1)], w.admitted[node(2)] = true, true
	w.save(t, withView(1, now, pair(1, 2, now)))
	forget := func() []core.PathStatus {
		t.Helper()
		w.settle(t, now)
		now = now.Add(12 * time.Hour)
		_, err := w.db.Exec("DELETE FROM matrix_frame")
		must(t, err)
		must(t, w.loadSlots(t.Context()))
		w.settle(t, now)
		must(t, w.tidyNames(t.Context()))
		return matrix(t, w.s)
	}
	comparePaths(t, forget(), []core.PathStatus{pair(1, 2, epoch)})
	_, err := w.db.Exec("DELETE FROM pair_latest")
	must(t, err)
	forget()
	if n := w.slots.names.nodes[node(2)]; n.number != 0 {
		t.Errorf("node 2 still has number %d", n.number)
	}
	nodes, err := nodesByNumber(t.Context(), w.db)
	if must(t, err); len(nodes) > 0 {
		t.Errorf("still there: %v", nodes)
	}
}
