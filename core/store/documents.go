package store

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// keptDocuments versions of one document are kept, for keptDocumentsFor; the
	// newest one as long as its node is known.
	keptDocuments    = 100
	keptDocumentsFor = 30 * 24 * time.Hour
	// documentShare of MaxBytes is what all may take: a path that changes with every
	// run must not cost the history.
	documentShare = 16
	// documentBytes is what a row takes beside its body, with the index.
	documentBytes = 200
	// maxDocument is over what a document may have, inflated.
	maxDocument  = 64 << 10
	someVersions = 20
)

type documentRow struct {
	bun.BaseModel `bun:"table:document,alias:d"`

	Seq   int64  `bun:"seq,pk,autoincrement"`
	Node  string `bun:"node"`
	Probe string `bun:"probe"`
	Name  string `bun:"name"`
	ID    string `bun:"id"`
	AtMS  int64  `bun:"at_ms"`
	Body  []byte `bun:"body"`
}

// documentKey names a document whatever its version.
type documentKey struct {
	node        core.NodeID
	probe, name string
}

// documents is what the writer knows of those that are stored.
type documents struct {
	loaded bool
	newest map[documentKey]string // its id
	bytes  int64
}

// forget has them read again.
func (d *documents) forget() { d.loaded, d.newest, d.bytes = false, nil, 0 }

// saveDocuments stores the documents that are not what was stored last.
func (c *commit) saveDocuments(ctx context.Context, rs []core.Result) error {
	for _, r := range rs {
		for _, d := range r.Documents {
			if err := c.saveDocument(ctx, documentKey{r.Job.Target.Node, r.Job.Probe, d.Name}, d, r.At()); err != nil {
				return fmt.Errorf("save document %s: %w", d.Name, err)
			}
		}
	}
	return nil
}

func (c *commit) saveDocument(ctx context.Context, key documentKey, d core.Document, at time.Time) error {
	docs := &c.w.documents
	if err := c.loadDocuments(ctx); err != nil {
		return err
	}
	before, known := docs.newest[key]
	if known && before == d.ID || key.node.IsZero() {
		return nil
	}
	body, err := pack(d.JSON)
	if err != nil {
		return err
	}
	row := documentRow{Node: key.node.String(), Probe: key.probe, Name: key.name, ID: d.ID, AtMS: at.UnixMilli(), Body: body}
	if _, err := c.tx.NewInsert().Model(&row).Returning("").Exec(ctx); err != nil {
		return err
	}
	docs.newest[key] = d.ID
	docs.bytes += int64(len(body)) + documentBytes
	c.onFailure(docs.forget)
	old := c.tx.NewSelect().Model((*documentRow)(nil)).Column("seq").Where("node = ? AND probe = ? AND name = ?", row.Node, row.Probe, row.Name).
		OrderExpr("seq DESC").Offset(keptDocuments).Limit(1)
	_, err = c.tx.NewDelete().Model((*documentRow)(nil)).Where("node = ? AND probe = ? AND name = ?", row.Node, row.Probe, row.Name).
		Where("seq <= (?)", old).Exec(ctx)
	if err == nil && docs.bytes > c.w.s.o.MaxBytes/documentShare {
		err = c.trimDocuments(ctx)
	}
	return err
}

// loadDocuments reads what is newest, once.
func (c *commit) loadDocuments(ctx context.Context) error {
	docs := &c.w.documents
	if docs.loaded {
		return nil
	}
	var rows []struct {
		Node, Probe, Name, ID string
		Bytes                 int64
	}
	newest := c.tx.NewSelect().Model((*documentRow)(nil)).
		ColumnExpr("MAX(seq) AS seq, SUM(LENGTH(body) + ?) AS bytes", documentBytes).Group("node", "probe", "name")
	err := c.tx.NewSelect().Model((*documentRow)(nil)).ColumnExpr("d.node, d.probe, d.name, d.id, g.bytes").
		Join("JOIN (?) AS g ON g.seq = d.seq", newest).Scan(ctx, &rows)
	if err != nil {
		return err
	}
	c.onFailure(docs.forget)
	docs.loaded, docs.newest, docs.bytes = true, make(map[documentKey]string, len(rows)), 0
	for _, r := range rows {
		docs.bytes += r.Bytes
		if id, err := core.ParseNodeID(r.Node); err == nil {
			docs.newest[documentKey{id, r.Probe, r.Name}] = r.ID
		}
	}
	return nil
}

// trimDocuments drops the oldest versions, those that hold now last, until an
// eighth of what is allowed is free.
func (c *commit) trimDocuments(ctx context.Context) error {
	var rows []struct{ Seq, Bytes int64 }
	newest := c.tx.NewSelect().Model((*documentRow)(nil)).ColumnExpr("MAX(seq)").Group("node", "probe", "name")
	err := c.tx.NewSelect().Model((*documentRow)(nil)).ColumnExpr("seq, LENGTH(body) + ? AS bytes", documentBytes).
		OrderExpr("seq IN (?), seq", newest).Scan(ctx, &rows)
	if err != nil {
		return err
	}
	var all int64
	for _, r := range rows {
		all += r.Bytes
	}
	limit := c.w.s.o.MaxBytes / documentShare / 8 * 7
	var drop []int64
	for _, r := range rows {
		if all <= limit {
			break
		}
		all -= r.Bytes
		drop = append(drop, r.Seq)
	}
	c.w.documents.forget() // the newest of a path may be gone
	if len(drop) == 0 {
		return nil
	}
	c.onSuccess(func() { c.w.noteDropped(Drop{Kind: core.DropDocuments, Rows: int64(len(drop))}) })
	_, err = c.tx.NewDelete().Model((*documentRow)(nil)).Where("seq IN (?)", bun.List(drop)).Exec(ctx)
	return err
}

// dropDocuments forgets those of nodes that are forgotten.
func (c *commit) dropDocuments(ctx context.Context, nodes []string) error {
	c.w.documents.forget()
	_, err := c.tx.NewDelete().Model((*documentRow)(nil)).Where("node IN (?)", bun.List(nodes)).Exec(ctx)
	return err
}

// tidyDocuments drops versions that are too old, and those of nodes that are gone.
func (w *writer) tidyDocuments(ctx context.Context, now time.Time) error {
	from, err := w.s.ago(ctx, w.db, now, keptDocumentsFor)
	if err != nil {
		return err
	}
	newest := w.db.NewSelect().Model((*documentRow)(nil)).ColumnExpr("MAX(seq)").Group("node", "probe", "name")
	known := w.db.NewSelect().Model((*nodeRow)(nil)).Column("id")
	w.documents.forget()
	_, err = w.db.NewDelete().Model((*documentRow)(nil)).Where("at_ms < ?", from).
		Where("seq NOT IN (?) OR node NOT IN (?)", newest, known).Exec(ctx)
	return err
}

// Documents selects the versions of documents, newest first.
func (s *Store) Documents(ctx context.Context, q core.DocumentQuery) ([]core.StoredDocument, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	limit := q.Limit
	if limit <= 0 {
		limit = someVersions
	}
	// The version after one ends it; it may be of no interest itself.
	const until = "(SELECT MIN(n.at_ms) FROM document AS n WHERE n.node = d.node AND n.probe = d.probe AND n.name = d.name AND n.seq > d.seq) AS until_ms"
	var rows []struct {
		Seq             int64
		Probe, Name, ID string
		AtMS            int64
		Body            []byte
		UntilMS         *int64
	}
	sel := s.reader.NewSelect().Model((*documentRow)(nil)).ColumnExpr("d.seq, d.probe, d.name, d.id, d.at_ms, d.body").ColumnExpr(until).Where("d.node = ?", q.Node.String()).
		OrderExpr("d.seq DESC").Limit(int64(min(limit, keptDocuments)))
	if q.Probe != "" {
		sel = sel.Where("d.probe = ?", q.Probe)
	}
	if q.Name != "" {
		sel = sel.Where("d.name = ?", q.Name)
	}
	if err := sel.Scan(ctx, &rows); err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	out := make([]core.StoredDocument, 0, len(rows))
	for _, r := range rows {
		text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(r.Body)), maxDocument))
		if err != nil {
			return nil, fmt.Errorf("read document %d: %w", r.Seq, err)
		}
		d := core.StoredDocument{
			Document: core.Document{Name: r.Name, ID: r.ID, JSON: text}, Node: q.Node, Probe: r.Probe, At: time.UnixMilli(r.AtMS),
		}
		if r.UntilMS != nil {
			d.Until = time.UnixMilli(*r.UntilMS)
		}
		out = append(out, d)
	}
	return out, nil
}

// packers are *flate.Writer: one takes a megabyte, which is let go when nothing
// changes for a while.
var packers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // of levels that there are not
	}
	return w
}}

func pack(text []byte) ([]byte, error) {
	w := packers.Get().(*flate.Writer)
	defer packers.Put(w)
	var packed bytes.Buffer
	w.Reset(&packed)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err := w.Close()
	return packed.Bytes(), err
}
