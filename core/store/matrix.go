package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// addView takes the row of the matrix that came with a result. A peer speaks
// for the node whose key it has proved and for no other, and only once that
// node is known.
func (c *commit) addView(rows *resultRows, r *core.Result) {
	if r.Learned == nil || len(r.Learned.View) == 0 || r.Outcome != core.OutcomeSuccess {
		return
	}
	who := r.Learned.Identity
	if who == nil || !who.Proven || who.ID != r.Job.Target.Node && !c.w.admitted[who.ID] {
		return
	}
	c.w.tells = r.Job.Probe
	c.keepView(rows.views, who.ID, r.Learned.View, r.At())
}

// keepView leaves the newest view of source in views. A view is the whole row
// of a node: it replaces the one before.
func (c *commit) keepView(views map[core.NodeID]view, source core.NodeID, said []core.PathStatus, at time.Time) {
	if source.IsZero() || source == c.w.s.o.Self {
		return
	}
	if at.After(c.now) {
		at = c.now
	}
	if old, ok := views[source]; ok && old.at.After(at) {
		return
	}
	views[source] = view{at: at, pairs: soundPairs(source, said, c.w.tells, c.now)}
}

func (c *commit) saveViews(ctx context.Context, views map[core.NodeID]view) error {
	if len(views) == 0 {
		return nil
	}
	rows, names := make([]viewRow, 0, len(views)), c.names(c.now.UnixMilli()/hourMS)
	number := func(id core.NodeID) int64 { // a peer must not make up names without end
		if id != c.w.s.o.Self && !c.w.admitted[id] {
			return 0
		}
		return names.node(id)
	}
	for source, v := range views {
		rows = append(rows, viewRow{
			Source: source.String(), AtMS: v.at.UnixMilli(), Pairs: len(v.pairs), Packed: packView(v.pairs, number, c.w.mostPacked()),
		})
	}
	if err := names.save(ctx); err != nil {
		return err
	}
	_, err := c.tx.NewInsert().Model(&rows).On("CONFLICT (source) DO UPDATE").
		Set("at_ms = EXCLUDED.at_ms, pairs = EXCLUDED.pairs, packed = EXCLUDED.packed").
		Where("EXCLUDED.at_ms >= v.at_ms OR v.at_ms > ?", c.tooLate()).Exec(ctx)
	if err != nil {
		return fmt.Errorf("upsert views: %w", err)
	}
	return nil
}

// queryTimeout bounds every reader: as long as one reads, the WAL cannot be
// reused and grows.
const queryTimeout = 10 * time.Second

// Latest is the newest result of every probe at every node: self's row of the
// matrix, by destination and probe.
func (s *Store) Latest(ctx context.Context) ([]core.PathStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return s.latest(ctx)
}

// latest reads the table in its own order (the plus is for that): by destination,
// pages would be read again and again.
func (s *Store) latest(ctx context.Context) (all []core.PathStatus, err error) {
	rows, err := s.reader.QueryContext(ctx, "SELECT s.node, s.probe, l.ts_ms, l.rtt_us, l.outcome, l.reason, l.message, l.metrics"+
		" FROM latest AS l JOIN series AS s ON s.id = +l.series_id")
	if err != nil {
		return nil, fmt.Errorf("read latest: %w", err)
	}
	defer rows.Close()
	var node, metrics sql.RawBytes
	for rows.Next() {
		var ms int64
		var us sql.NullInt64
		p := core.PathStatus{Source: s.o.Self}
		if err := rows.Scan(&node, &p.Probe, &ms, &us, &p.Outcome, &p.Reason, &p.Message, &metrics); err != nil {
			return nil, fmt.Errorf("read latest: %w", err)
		}
		if p.Destination, err = core.ParseNodeID(string(node)); err != nil {
			return nil, fmt.Errorf("read latest: %w", err)
		}
		p.RTT = time.Duration(us.Int64) * time.Microsecond
		p.At, p.Metrics = time.UnixMilli(ms), decodeMetrics(string(metrics))
		all = append(all, p)
	}
	slices.SortFunc(all, byDestination)
	return all, s.saw(rows.Err())
}

// Matrix is the newest result of every known pair: self's row, then what each
// peer has told of its own; or, unless q.At is zero, what it was at that time:
// peers' rows as of the last full ten minutes, with RTT within 25 %.
// When peers measured is known to a second, a million of what they did at once.
// What is damaged is left out and logged.
func (s *Store) Matrix(ctx context.Context, q core.MatrixQuery) (core.Matrix, error) {
	if !q.At.IsZero() {
		return s.pastMatrix(ctx, q)
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	own, err := s.latest(ctx)
	if err != nil {
		return nil, err
	}
	m := core.Matrix{s.o.Self: rowOf(own, q)}
	err = s.snapshot(ctx, func(snap *snapshot) error { return s.views(ctx, snap, q, m) })
	if err != nil {
		return nil, fmt.Errorf("read views: %w", err)
	}
	return m, nil
}

// rowOf reads a row that is there unpacked.
func rowOf(paths []core.PathStatus, q core.MatrixQuery) func(*core.MatrixRow) {
	return func(row *core.MatrixRow) {
		row.Reset()
		for _, p := range paths {
			row.Add(q, p)
		}
	}
}

// views adds what peers told to m, packed as it is: readers must not be held up
// by who asks for the rows one after the other, and they have at most a share of
// MaxBytes.
func (s *Store) views(ctx context.Context, snap *snapshot, q core.MatrixQuery, m core.Matrix) error {
	nodes, err := nodesByNumber(ctx, snap.tx)
	if err != nil {
		return err
	}
	rows, err := snap.tx.QueryContext(ctx, "SELECT source, packed FROM pair_latest ORDER BY source")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var source string
		var packed []byte
		if err := rows.Scan(&source, &packed); err != nil {
			return err
		}
		id, err := core.ParseNodeID(source)
		if err != nil {
			s.viewLeftOut(source, err)
			continue
		}
		m[id] = func(row *core.MatrixRow) {
			if err := unpackView(row, id, nodes, packed, q); err != nil {
				s.viewLeftOut(source, err)
			}
		}
	}
	return rows.Err()
}

func (s *Store) viewLeftOut(source string, err error) {
	s.o.Log.Warn("a stored view is left out", "source", source, "error", err)
}
