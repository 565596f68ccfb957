package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// What is particular to PostgreSQL is in this file and in migrations/postgres.

const (
	// postgresReaders cost memory of the server, which has some.
	postgresReaders = 4
	// postgresPatience is what connecting gets, and thrice of it a transaction.
	postgresPatience = 10 * time.Second
	// lockClass is "node": advisory locks of other programs must not be ours.
	lockClass = 0x6e6f6465
)

// postgresDB is a schema of a PostgreSQL database: the first of the connection's
// search_path.
type postgresDB struct {
	config   *pgx.ConnConfig
	reader   *bun.DB
	sessions atomic.Int64
}

// readOnly is for connections of readers.
var readOnly = map[string]string{"default_transaction_read_only": "on"}

func newPostgres(dsn string) (*postgresDB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("storage.dsn: %w", err) // pgx leaves passwords out
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = postgresPatience
	}
	// bun writes values into the statement, so no statement comes twice, and quotes
	// as the standard says.
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	config.RuntimeParams["standard_conforming_strings"] = "on"
	config.RuntimeParams["client_encoding"] = "UTF8"
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "nodeprobe"
	}
	return &postgresDB{config: config}, nil
}

// String names the database without its password.
func (p *postgresDB) String() string {
	u := url.URL{Scheme: "postgres", User: url.User(p.config.User), Path: "/" + p.config.Database}
	if u.Host = net.JoinHostPort(p.config.Host, strconv.Itoa(int(p.config.Port))); strings.HasPrefix(p.config.Host, "/") {
		u.Host, u.RawQuery = "", "host="+p.config.Host
	}
	return u.String()
}

func (p *postgresDB) traits() traits {
	return traits{
		migrations: "migrations/postgres",
		snapshot:   sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead},
		patience:   3 * postgresPatience,
		rowSizes:   rowSizes{packed: 80, tail: 105},
	}
}

func (p *postgresDB) open(ctx context.Context) (writer, reader *bun.DB, err error) {
	// When this host is gone, the server must notice before a day is over: the
	// connection holds the lock.
	writer = p.pool(1, p.begin, map[string]string{
		"tcp_keepalives_idle": "60", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3",
	})
	if err := writer.PingContext(ctx); err != nil {
		return nil, nil, errors.Join(err, writer.Close())
	}
	p.reader = p.pool(postgresReaders, nil, readOnly)
	p.reader.SetConnMaxIdleTime(readerIdle)
	return writer, p.reader, nil
}

func (p *postgresDB) openReader(ctx context.Context) (*bun.DB, error) {
	p.reader = p.pool(1, nil, readOnly)
	var there bool
	err := p.reader.QueryRowContext(ctx, "SELECT to_regclass(?) IS NOT NULL", migrationTable).Scan(&there)
	if err == nil && !there {
		err = ErrNoDatabase
	}
	if err != nil {
		return nil, errors.Join(err, p.reader.Close())
	}
	return p.reader, nil
}

func (p *postgresDB) pool(conns int, begin func(context.Context, *pgx.Conn) error, params map[string]string) *bun.DB {
	config := p.config.Copy()
	for name, value := range params {
		if _, given := config.RuntimeParams[name]; !given {
			config.RuntimeParams[name] = value
		}
	}
	var options []stdlib.OptionOpenDB
	if begin != nil {
		options = append(options, stdlib.OptionAfterConnect(begin))
	}
	pool := sql.OpenDB(connector{stdlib.GetConnector(*config, options...)})
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return bun.NewDB(pool, pgdialect.New())
}

// begin is done first by each connection of the writer: it takes the lock of the
// schema, which lasts as long as the connection.
func (p *postgresDB) begin(ctx context.Context, conn *pgx.Conn) (err error) {
	defer func() {
		if err != nil {
			conn.Close(ctx)
		}
	}()
	var schema *string
	if err := conn.QueryRow(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return err
	}
	if schema == nil {
		return fmt.Errorf("there is no schema %q; make it with CREATE SCHEMA", p.config.RuntimeParams["search_path"])
	}
	// A process that ended just now, or a connection that broke, may be in the
	// server for a moment yet.
	_, err = conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = '2s'; SELECT pg_advisory_lock(%d, hashtext(current_schema())); RESET lock_timeout", lockClass))
	if from := (*pgconn.PgError)(nil); errors.As(err, &from) && from.Code == "55P03" { // lock_not_available
		return fmt.Errorf("%w: schema %s is held by another nodeprobe%s; stop it, or give this one another database or search_path",
			ErrLocked, *schema, holderOf(ctx, conn))
	}
	if err != nil {
		return err
	}
	p.sessions.Add(1)
	return nil
}

// holderOf is what the server says of the one that holds the lock.
func holderOf(ctx context.Context, conn *pgx.Conn) string {
	var said string
	err := conn.QueryRow(ctx, "SELECT ' (' || COALESCE('at ' || host(a.client_addr) || ', ', '') || 'server process ' || a.pid || ')'"+
		" FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"+
		" WHERE l.locktype = 'advisory' AND l.granted AND l.classid::BIGINT = $1"+
		" AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1", int64(lockClass)).Scan(&said)
	if err != nil {
		return "" // only a hint for people
	}
	return said
}

func (*postgresDB) closed() {}

func (p *postgresDB) session() int64 { return p.sessions.Load() }

// unreachable is an error of connecting, in one line: pgx writes one for each
// address.
type unreachable struct{ err error }

func (u *unreachable) Error() string {
	return "PostgreSQL cannot be used: " + strings.Join(strings.Fields(u.err.Error()), " ")
}

func (u *unreachable) Unwrap() error { return u.err }

type connector struct{ driver.Connector }

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	switch {
	case errors.Is(err, ErrLocked):
		return nil, err
	case err != nil:
		return nil, &unreachable{err}
	}
	return conn, nil
}

func (p *postgresDB) down(err error) bool {
	var from *pgconn.PgError
	if errors.As(err, &from) {
		// Connection, resources, operator (shutdown), system.
		return slices.Contains([]string{"08", "53", "57", "58"}, from.Code[:min(2, len(from.Code))])
	}
	var connecting *unreachable
	var network net.Error // also a deadline
	return errors.As(err, &connecting) || errors.As(err, &network) || errors.Is(err, ErrLocked) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// relationBytes is tables with their indexes and what they keep elsewhere, rows
// that are dead included.
const relationBytes = "SELECT COALESCE(SUM(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace" +
	" WHERE c.relkind = 'r' AND s.nspname = current_schema()"

// countedBytes is about what the rows take that retention does not count itself.
const countedBytes = "SELECT COALESCE(SUM(bytes + 150), 0) FROM (" +
	"SELECT pg_column_size(payload) AS bytes FROM outbox UNION ALL SELECT pg_column_size(packed) FROM pair_latest" +
	" UNION ALL SELECT pg_column_size(body) FROM report UNION ALL SELECT LENGTH(message) + LENGTH(metrics) FROM latest" +
	" UNION ALL SELECT LENGTH(message) FROM code UNION ALL SELECT LENGTH(name) FROM matrix_name UNION ALL SELECT 100 FROM series UNION ALL SELECT 300 FROM node) AS counted"

// used counts rows. The files are no measure: when the server uses again what a
// deleted row took is its own affair, so dropping history makes nothing smaller
// that somebody's long transaction has made large.
func (p *postgresDB) used(ctx context.Context, w *writer) (used, free int64, err error) {
	err = w.db.QueryRowContext(ctx, countedBytes).Scan(&used)
	return used + w.tailRows*w.rowSizes.tail + w.packed.bytes + w.rollups.bytes + w.slots.size.bytes + w.events, 0, err
}

func (p *postgresDB) shrink(context.Context) error { return nil }

func (p *postgresDB) checkpoint(context.Context) error { return nil }

func (p *postgresDB) room(context.Context) error { return nil }

func (p *postgresDB) size(ctx context.Context) (data, log int64, err error) {
	err = p.reader.QueryRowContext(ctx, relationBytes).Scan(&data)
	return data, 0, err
}

func (p *postgresDB) prepare(context.Context) error { return nil }

func (p *postgresDB) insertTail(ctx context.Context, tx bun.Tx, rows []tailRow) (inserted int64, err error) {
	for part := range slices.Chunk(rows, insertRows) {
		res, err := tx.NewInsert().Model(&part).On("CONFLICT DO NOTHING").Returning("").Exec(ctx)
		if err != nil {
			return inserted, err
		}
		n, _ := res.RowsAffected()
		inserted += n
	}
	return inserted, nil
}

func (p *postgresDB) upsertLatest(ctx context.Context, tx bun.Tx, rows []latestRow, tooLate int64) error {
	for part := range slices.Chunk(rows, insertRows) {
		_, err := tx.NewInsert().Model(&part).On("CONFLICT (series_id) DO UPDATE").
			Set("ts_ms = EXCLUDED.ts_ms, rtt_us = EXCLUDED.rtt_us, outcome = EXCLUDED.outcome").
			Set("reason = EXCLUDED.reason, message = EXCLUDED.message, metrics = EXCLUDED.metrics").
			Where("EXCLUDED.ts_ms >= l.ts_ms OR l.ts_ms > ?", tooLate).Returning("").Exec(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *postgresDB) insertChunks(ctx context.Context, tx bun.Tx, rows []chunkRow) error {
	return insertMany(ctx, tx, rows)
}

func (p *postgresDB) insertRollups(ctx context.Context, tx bun.Tx, rows []rollupRow) error {
	return insertMany(ctx, tx, rows)
}

// insertMany saves the way to the server, which parses better than it waits.
func insertMany[T any](ctx context.Context, tx bun.Tx, rows []T) error {
	for part := range slices.Chunk(rows, insertRows) {
		if _, err := tx.NewInsert().Model(&part).Returning("").Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
