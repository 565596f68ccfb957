package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

const (
	// salvagedSuffix is of a database that is complete and waits to take the place
	// of the one at the path.
	salvagedSuffix = ".salvaged"
	// salvageTimeout bounds the whole, salvageTries the statements per table: in
	// a damaged tree a query may lead anywhere.
	salvageTimeout = time.Minute
	salvageTries   = 4000
)

// replace puts a new database with all that can be read of the corrupt one in its
// place, and moves that aside.
func (s *Store) replace(ctx context.Context, cause error) error {
	path := s.o.Path
	ready := path + salvagedSuffix
	cause = locate(path, cause)
	rows, err := salvage(ctx, path, ready)
	if noRoom(err) && dropBallast(path) {
		rows, err = salvage(ctx, path, ready)
	}
	if err != nil {
		err = errors.Join(err, removeFiles(ready))
		if noRoom(err) {
			return fmt.Errorf("%w, and there is no room for a new one: %w", cause, err)
		}
		s.o.Log.Error("nothing could be saved of a corrupt database", "error", err)
	}
	aside, err := moveAside(path, time.Now())
	if aside == "" {
		return errors.Join(cause, err)
	}
	if err := os.Rename(ready, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.tell(Mishap{Aside: aside, Text: fmt.Sprintf(
		"%s: a new one begins with the %d rows that could be read, the old one is kept as %s", shortly(cause), rows, aside)})
	return checkFile(ctx, path) // makes the file if it is not there, readable by its owner only
}

// locate says which page it is that SQLite found to be damaged.
func locate(path string, cause error) error {
	f, err := os.Open(path)
	if err != nil {
		return cause
	}
	defer f.Close()
	if n := firstDamaged(f); n > 0 && anySeal(f) {
		return fmt.Errorf("%w: page %d is damaged", errCorrupt, n)
	}
	return cause
}

// finishReplace ends a replacement during which the process was killed.
func finishReplace(path string) error {
	if err := removeFiles(path + salvagedSuffix + ".part"); err != nil {
		return err
	}
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(path+salvagedSuffix, path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return removeFiles(path + salvagedSuffix)
}

// shortly fits into an event.
func shortly(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text[:min(len(text), 200)]
}

func removeFiles(path string) error {
	for _, part := range parts {
		if err := os.Remove(path + part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// salvage makes a database at to of what can be read of the one at from.
func salvage(ctx context.Context, from, to string) (rows int64, err error) {
	if err := removeFiles(to); err != nil {
		return 0, err
	}
	building := to + ".part" // what is killed on the way must not look complete
	if err := removeFiles(building); err != nil {
		return 0, err
	}
	if err := sealNew(building); err != nil {
		return 0, errors.Join(err, removeFiles(building))
	}
	dst, reader, err := openPools(ctx, building)
	if err != nil {
		return 0, errors.Join(err, removeFiles(building))
	}
	err = reader.Close()
	if err == nil {
		err = migrateUp(ctx, dst, migrationFiles, "migrations/sqlite")
	}
	if err == nil {
		rows, err = salvageInto(ctx, from, building, dst)
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return 0, errors.Join(err, removeFiles(building))
	}
	return rows, os.Rename(building, to)
}

// salvageInto copies table by table, but for what peers told of their paths: they
// tell it again with the next answer. Only errors of dst count.
func salvageInto(ctx context.Context, from, scratch string, dst *bun.DB) (rows int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, salvageTimeout)
	defer cancel()
	src, err := openDamaged(ctx, from, scratch+".head")
	if src == nil {
		return 0, err
	}
	defer os.Remove(scratch + ".head")
	defer src.Close()
	for _, t := range []salvaging{
		{table: "series"},
		{table: "code", after: keepCodes},
		{table: "progress", whole: true},
		{table: "node", whole: true},
		{table: "plugin", whole: true},
		{table: "cursors", whole: true},
		{table: "event"},
		{table: "latest"},
		{table: "rollup", cell: dayHours},
		{table: "chunk", cell: 1},
		{table: "tail", key: "ts_ms"},
		{table: "report"},
		{table: "outbox"},
		{table: "document"},
		{table: "matrix_name"},
		{table: "matrix_frame", ends: true, after: keepFrames},
	} {
		t.src, t.key = src, cmp.Or(t.key, "rowid")
		err := dst.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			if err := t.copy(ctx, tx); err != nil || t.after == nil {
				return err
			}
			return t.after(ctx, tx, t.gap)
		})
		if err != nil {
			return rows, fmt.Errorf("salvage %s: %w", t.table, err)
		}
		rows += t.saved
	}
	_, err = dst.DB.ExecContext(ctx, afterSalvage)
	return rows, err
}

// afterSalvage makes the tables fit each other again: nothing may have the id of
// a series that is lost, which could be given to another, and no sequence number
// may be given that a reporter has behind it.
const afterSalvage = `
DELETE FROM chunk WHERE id & 1048575 NOT IN (SELECT id FROM series);
DELETE FROM rollup WHERE id & 1048575 NOT IN (SELECT id FROM series);
DELETE FROM tail WHERE series_id NOT IN (SELECT id FROM series);
DELETE FROM latest WHERE series_id NOT IN (SELECT id FROM series);
UPDATE code SET used_hour = (SELECT COALESCE(MAX(ts_ms), 0) / 3600000 FROM tail) WHERE used_hour = 0;
UPDATE progress SET hour = (SELECT COALESCE(MIN(id), 0) >> 20 FROM chunk) WHERE name = 'raw_hour' AND hour = 0;
INSERT INTO sqlite_sequence (name, seq) SELECT 'outbox', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'outbox');
UPDATE sqlite_sequence SET seq = MAX(seq, (SELECT COALESCE(MAX(acked_seq), 0) FROM cursors)) WHERE name = 'outbox';
`

// openDamaged opens what is left of a database for reading; nil when it is
// nothing. When its header is lost, a copy gets another one.
func openDamaged(ctx context.Context, path, scratch string) (*bun.DB, error) {
	for _, try := range []func() (string, error){
		func() (string, error) { return path, nil },
		func() (string, error) { return scratch, newHeader(path, scratch) },
	} {
		name, err := try()
		if err != nil {
			return nil, err
		}
		db, err := openPool(ctx, name, 1, url.Values{"mode": {"ro"}, busyParameter: {"5000"}, "_pragma": {"cache_size(-1000)", "query_only(1)"}})
		if err != nil {
			continue
		}
		var tables int
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_schema").Scan(&tables); err == nil {
			return db, nil
		}
		db.Close()
	}
	return nil, os.RemoveAll(scratch)
}

// newHeader copies a database and gives the copy a header as databases of
// NodeProbe have it.
func newHeader(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	size, err := io.Copy(dst, src)
	if err != nil {
		return err
	}
	h := header(numberOf(size) - 1)
	if !anySeal(src) {
		h[reservedAt] = 0
	}
	page := make([]byte, pageSize)
	n, err := src.ReadAt(page, 0)
	if ignoreEOF(err) != nil {
		return err
	}
	copy(page, h)
	if n == pageSize && h[reservedAt] == sealBytes {
		putSeal(page, sealOf(page, 1))
	}
	_, err = dst.WriteAt(page[:n], 0)
	return err
}

// anySeal tells whether any page but the first has a seal.
func anySeal(f io.ReaderAt) bool {
	page := make([]byte, pageSize)
	for number := uint32(2); ; number++ {
		if _, err := f.ReadAt(page, int64(number-1)*pageSize); err != nil {
			return false
		}
		if goodSeal(page, number) {
			return true
		}
	}
}
