package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// ErrNoDatabase: there is no file to read, or the schema is empty.
var ErrNoDatabase = errors.New("there is no database")

// Reader reads a database beside the node that may be running on it, and changes
// nothing. Every read is short: it never keeps the write-ahead log from being
// reused. Its methods must not be called concurrently.
type Reader struct {
	s *Store // without a writer
}

// OpenReader opens the database at o.DSN or o.Path. Errors: ErrNoDatabase; otherwise one
// sentence that names the file.
func OpenReader(ctx context.Context, o Options) (*Reader, error) {
	o = o.withDefaults()
	r := &Reader{s: &Store{o: o}}
	var err error
	if r.s.db, err = r.s.database(); err != nil {
		return nil, err
	}
	db, err := r.s.db.openReader(ctx)
	switch {
	case errors.Is(err, ErrNoDatabase):
		return nil, fmt.Errorf("%w: %s", err, r.s.db)
	case err != nil:
		return nil, fmt.Errorf("open database %s: %w", r.s.db, err)
	}
	r.s.reader = db
	if err := r.checkSchema(ctx); err != nil {
		closing := db.Close()
		return nil, errors.Join(fmt.Errorf("read database %s: %w", r.s.db, r.Explain(err)), closing)
	}
	return r, nil
}

// errOlderSchema: only a node that starts brings it up to date.
var errOlderSchema = errors.New("the database was written by an earlier version of nodeprobe: start the node once")

func (r *Reader) checkSchema(ctx context.Context) error {
	_, known, err := loadMigrations(migrationFiles, r.s.db.traits().migrations)
	if err != nil {
		return err
	}
	var applied []string
	if err := r.s.reader.NewSelect().Table(migrationTable).Column("name").Scan(ctx, &applied); err != nil {
		return err
	}
	for _, name := range applied {
		if !known[name] {
			return fmt.Errorf("%w (migration %s is not known here)", errNewerSchema, name)
		}
		delete(known, name)
	}
	if len(known) > 0 {
		return errOlderSchema
	}
	return nil
}

// Path is the file, or the URL without its password.
func (r *Reader) Path() string { return r.s.db.String() }

// Explain is err in words that say what is wrong with the file. Nothing can be read
// any more after it.
func (r *Reader) Explain(err error) error {
	if r.s.o.DSN != "" {
		return err
	}
	return explain(r.s.o.Path, err)
}

// Close gives the file free.
func (r *Reader) Close() error { return r.s.reader.Close() }

// Stats tells sizes and ages. What counts since Open is 0.
func (r *Reader) Stats(ctx context.Context) (Stats, error) {
	w := &writer{s: r.s, db: r.s.reader, edges: edges{}, rowSizes: r.s.db.traits().rowSizes}
	err := w.db.NewSelect().Model((*tailRow)(nil)).ColumnExpr("COUNT(*)").Scan(ctx, &w.tailRows)
	if err != nil {
		return Stats{}, fmt.Errorf("count results: %w", err)
	}
	for _, load := range []func(context.Context) error{w.loadSizes, w.loadSlots, w.measureEvents} {
		if err := load(ctx); err != nil {
			return Stats{}, err
		}
	}
	if w.used, w.free, err = r.s.db.used(ctx, w); err != nil {
		return Stats{}, fmt.Errorf("read size: %w", err)
	}
	w.tell(ctx)
	st := r.s.stats
	st.MaxBytes = r.s.o.MaxBytes
	if st.Bytes, st.WALBytes, err = r.s.db.size(ctx); err != nil {
		return Stats{}, fmt.Errorf("measure database: %w", err)
	}
	return st, nil
}

// Counts is how many rows there are to export.
type Counts struct {
	Nodes, Paths, Events int64
}

// Counts counts nodes, paths and events.
func (r *Reader) Counts(ctx context.Context) (c Counts, err error) {
	for _, of := range []struct {
		query *bun.SelectQuery
		n     *int64
	}{
		{r.s.reader.NewSelect().Model((*nodeRow)(nil)), &c.Nodes},
		{r.s.reader.NewSelect().Model((*seriesRow)(nil)).Where("metric = ''"), &c.Paths},
		{r.s.reader.NewSelect().Model((*eventRow)(nil)), &c.Events},
	} {
		if err := of.query.ColumnExpr("COUNT(*)").Scan(ctx, of.n); err != nil {
			return c, fmt.Errorf("count: %w", err)
		}
	}
	return c, nil
}

// span is what of [from, to) can have results, in hours since 1970: first to end.
func (r *Reader) span(ctx context.Context, q ExportQuery) (first, end int64, err error) {
	w := &writer{s: r.s, db: r.s.reader, edges: edges{}}
	a, err := w.oldest(ctx)
	if err != nil || a.raw == 0 {
		return 0, 0, err
	}
	chunk, err := w.chunkEdge(ctx, "MAX(id)", "id > ?", 0)
	if err != nil {
		return 0, 0, err
	}
	tail, err := w.edge(ctx, "MAX(ts_ms)")
	if err != nil {
		return 0, 0, err
	}
	first, end = a.raw/hourMS, max(chunk, tail/hourMS)+1
	from, to := q.bounds()
	return max(first, from/hourMS), min(end, (to-1)/hourMS+1), nil
}

// ExportQuery selects what to export. Zero fields do not restrict.
type ExportQuery struct {
	// Node is that of a path, or for the matrix one end of it; for events the
	// subject.
	Node  string
	Probe string
	// From and To bound the time: from From until before To.
	From, To time.Time
	// Progress is told how far it is, in steps.
	Progress func(done, total int64)
}

func (q ExportQuery) bounds() (from, to int64) {
	to = maxMS
	if !q.From.IsZero() {
		from = q.From.UnixMilli()
	}
	if !q.To.IsZero() {
		to = q.To.UnixMilli()
	}
	return from, to
}

func (q ExportQuery) progress(done, total int64) {
	if q.Progress != nil {
		q.Progress(done, total)
	}
}
