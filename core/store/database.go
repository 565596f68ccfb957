package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// database is what a kind of database does in its own way: sqliteDB and
// postgresDB. All else is the same SQL for both.
type database interface {
	fmt.Stringer // which one it is, for people
	// open makes the database ready for migrations. The writer has one connection,
	// and nobody else writes as long as it has.
	open(ctx context.Context) (writer, reader *bun.DB, err error)
	// closed follows when the node has closed the database.
	closed()
	// openReader opens what is there for one reader, beside a node that may be
	// running on it. Errors: ErrNoDatabase.
	openReader(ctx context.Context) (*bun.DB, error)
	traits() traits
	// session counts the connections that the writer has had. What it knows from
	// one may be out of date in the next.
	session() int64
	// down tells that err is about the connection, not about what was to be done.
	down(err error) bool
	// used is what counts into MaxBytes, and what is free to be used again, bytes.
	used(ctx context.Context, w *writer) (used, free int64, err error)
	// shrink gives a step of what is free back.
	shrink(ctx context.Context) error
	// checkpoint makes room in the log for a large transaction.
	checkpoint(ctx context.Context) error
	// room tells whether one more transaction fits. Errors: ErrPinned.
	room(ctx context.Context) error
	// size is what the database and its log take where they are kept, bytes.
	size(ctx context.Context) (data, log int64, err error)
	// prepare is called when the schema is there, before any of what follows.
	prepare(ctx context.Context) error
	insertTail(ctx context.Context, tx bun.Tx, rows []tailRow) (inserted int64, err error)
	// upsertLatest keeps what is newer, unless it is from tooLate or later, ms.
	upsertLatest(ctx context.Context, tx bun.Tx, rows []latestRow, tooLate int64) error
	insertChunks(ctx context.Context, tx bun.Tx, rows []chunkRow) error
	insertRollups(ctx context.Context, tx bun.Tx, rows []rollupRow) error
}

// traits are what two kinds of database differ in.
type traits struct {
	migrations string // folder
	// snapshot begins a transaction that sees the database at one moment.
	snapshot sql.TxOptions
	// patience with a transaction; 0: as long as it takes.
	patience time.Duration
	rowSizes rowSizes
}

// rowSizes are bytes: what a row of chunk or rollup takes beside its data, and a
// whole row of the tail.
type rowSizes struct{ packed, tail int64 }
