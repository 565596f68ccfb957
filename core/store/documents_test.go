package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// documented is a result with a document.
func documented(n int, at time.Time, name, id, text string) core.Result {
	r := result(n, 1, at, time.Millisecond)
	r.Documents = []core.Document{{Name: name, ID: id, JSON: []byte(text)}}
	return r
}

func documentsOf(t *testing.T, s *Store, q core.DocumentQuery) string {
	t.Helper()
	found, err := s.Documents(t.Context(), q)
	must(t, err)
	var out []string
	for _, d := range found {
		line := fmt.Sprintf("%s %s %s from %d", d.Name, d.ID, d.JSON, int(d.At.Sub(epoch)/time.Minute))
		if !d.Until.IsZero() {
			line += fmt.Sprintf(" to %d", int(d.Until.Sub(epoch)/time.Minute))
		}
		out = append(out, line)
	}
	return strings.Join(out, ", ")
}

func testDocuments(t *testing.T, open opener) {
	s := open(t, Options{})
	must(t, s.SaveNodes(t.Context(), []core.Node{{ID: node(1), Endpoints: []core.Endpoint{{Host: "192.0.2.1", Port: 443}}}}))
	minute := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }
	for n, id := range []string{"a", "a", "b", "b", "a"} {
		must(t, s.SaveResults(t.Context(), []core.Result{documented(1, minute(n), "hops", id, fmt.Sprintf(`{"run":%d}`, n))}))
	}
	must(t, s.SaveResults(t.Context(), []core.Result{documented(1, minute(5), "other", "x", `{}`), documented(2, minute(5), "hops", "z", `{}`)}))
	q := core.DocumentQuery{Node: node(1), Name: "hops"}
	want := `hops a {"run":4} from 4, hops b {"run":2} from 2 to 4, hops a {"run":0} from 0 to 2`
	if got := documentsOf(t, s, q); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := documentsOf(t, s, core.DocumentQuery{Node: node(1), Limit: 1}); got != "other x {} from 5" {
		t.Errorf("got %s, want the newest of all", got)
	}
	if got := documentsOf(t, s, core.DocumentQuery{Node: node(1), Probe: "none"}); got != "" {
		t.Errorf("got %s of another probe, want none", got)
	}
	must(t, s.DeleteNodes(t.Context(), []core.NodeID{node(1)}))
	if got := documentsOf(t, s, core.DocumentQuery{Node: node(1)}); got != "" {
		t.Errorf("got %s of a node that is forgotten, want none", got)
	}
	must(t, s.SaveResults(t.Context(), []core.Result{documented(1, minute(9), "hops", "a", `{}`)}))
	if got := documentsOf(t, s, q); got != "hops a {} from 9" {
		t.Errorf("got %s after the node is back", got)
	}
}

// Versions, bytes and age are bounded; what holds now goes last.
func testDocumentBounds(t *testing.T, open opener) {
	s := open(t, Options{MaxBytes: 1_000_000})
	must(t, s.SaveResults(t.Context(), []core.Result{documented(2, epoch, "hops", "holds", `{"still":1}`)}))
	for batch := range 20 {
		var rs []core.Result
		for i := range 50 {
			n := 50*batch + i
			rs = append(rs, documented(1, epoch.Add(time.Duration(n)*time.Minute), "hops", fmt.Sprint(n), fmt.Sprintf(`{"run":%d,"noise":%q}`, n, noise(n))))
		}
		must(t, s.SaveResults(t.Context(), rs))
	}
	found, err := s.Documents(t.Context(), core.DocumentQuery{Node: node(1), Limit: 1000})
	must(t, err)
	if len(found) > keptDocuments || len(found) < 10 || found[0].ID != "999" {
		t.Errorf("got %d versions, want the newest up to %d", len(found), keptDocuments)
	}
	if got := documentsOf(t, s, core.DocumentQuery{Node: node(2)}); got != `hops holds {"still":1} from 0` {
		t.Errorf("got %s, want what holds now to be kept", got)
	}
	var bytes int64
	must(t, s.reader.NewSelect().Model((*documentRow)(nil)).ColumnExpr("SUM(LENGTH(body) + ?)", documentBytes).Scan(t.Context(), &bytes))
	if s.Counts().Dropped[core.DropDocuments] == 0 {
		t.Error("that documents went before their time is not told")
	}
	if bytes > 1_000_000/documentShare {
		t.Errorf("documents take %d bytes, want at most %d", bytes, 1_000_000/documentShare)
	}
}

// Versions are as old as what was lived through since, whatever the clock says.
func TestDocumentsWrongClock(t *testing.T) {
	w := stopped(t, Options{})
	known := rowOfNode(core.Node{ID: node(1)})
	_, err := w.db.NewInsert().Model(&known).Exec(t.Context())
	must(t, err)
	for n := range 10 {
		w.save(t, documented(1, epoch.Add(time.Duration(n)*time.Minute), "hops", fmt.Sprint(n), `{}`))
	}
	versions := func() int {
		found, err := w.s.Documents(t.Context(), core.DocumentQuery{Node: node(1)})
		must(t, err)
		return len(found)
	}
	w.settle(t, epoch.Add(5*365*24*time.Hour))
	if got := versions(); got != 10 {
		t.Errorf("got %d versions after one look of a clock that is ahead, want 10", got)
	}
	for day := range 33 {
		at := epoch.Add(time.Duration(day) * 24 * time.Hour)
		w.save(t, result(1, 0, at, time.Millisecond))
		w.settle(t, at.Add(time.Minute))
	}
	if got := versions(); got != 1 {
		t.Errorf("got %d versions after a month, want the newest", got)
	}
}

// noise does not deflate well.
func noise(n int) string {
	var out strings.Builder
	for i := range 200 {
		fmt.Fprintf(&out, "%x", (n*7919+i*104729)%65521)
	}
	return out.String()
}

func testDocumentsOfAFailedCommit(t *testing.T, open opener) {
	s := open(t, Options{})
	broken := errors.New("disk full")
	err := s.write(t.Context(), func(ctx context.Context, c *commit) error {
		return errors.Join(c.saveDocuments(ctx, []core.Result{documented(1, epoch, "hops", "a", `{}`)}), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("got %v, want the write to fail", err)
	}
	must(t, s.SaveResults(t.Context(), []core.Result{documented(1, epoch, "hops", "a", `{}`)}))
	if got := documentsOf(t, s, core.DocumentQuery{Node: node(1)}); got != "hops a {} from 0" {
		t.Errorf("got %q: a version that was rolled back counts as stored", got)
	}
}
