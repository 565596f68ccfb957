package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// pastRuns is how old self's own result may be to count in a past matrix.
const pastRuns = time.Hour

// pastMatrix is the matrix at a time: self's row as measured, those of peers as
// they stood at the last full ten minutes, RTT within 25 %. What is no longer
// kept, or was not looked at, is not there.
func (s *Store) pastMatrix(ctx context.Context, q core.MatrixQuery) (core.Matrix, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	p := past{store: s, query: q, at: q.At.UnixMilli()}
	if err := s.snapshot(ctx, func(snap *snapshot) error { return p.read(ctx, snap) }); err != nil {
		return nil, fmt.Errorf("read the matrix at %s: %w", q.At.UTC().Format(time.RFC3339), err)
	}
	return p.matrix(), nil
}

// past collects what there was at a time.
type past struct {
	store *Store
	query core.MatrixQuery
	at    int64 // ms
	runs  map[int64]*pastRun
	peers *replay
	codes map[int64]codeRow
	names map[int64]string
}

// pastRun is the newest run of a path.
type pastRun struct {
	node, probe string
	run
}

func (p *past) read(ctx context.Context, snap *snapshot) error {
	if err := p.words(ctx, snap.tx); err != nil {
		return err
	}
	if err := p.ownRuns(ctx, snap); err != nil {
		return err
	}
	slot := p.at / slotMS
	p.peers = &replay{slot: slot, rows: map[int64]*replayed{}, wants: func(probe int64) bool { return p.query.Wants(p.names[probe]) }}
	if err := p.peers.read(ctx, snap.tx); err != nil {
		return err
	}
	if p.peers.bad != nil {
		p.store.o.Log.Warn("a part of the history of the matrix is left out", "slot", timeOfMS(slot*slotMS).UTC(), "error", p.peers.bad)
	}
	return nil
}

func (p *past) ownRuns(ctx context.Context, snap *snapshot) error {
	var rows []seriesRow
	if err := snap.tx.NewSelect().Model(&rows).Column("id", "node", "probe").Where("metric = ''").Order("id").Scan(ctx); err != nil {
		return err
	}
	p.runs = make(map[int64]*pastRun, len(rows))
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i], p.runs[r.ID] = r.ID, &pastRun{node: r.Node, probe: r.Probe}
	}
	from := p.at - pastRuns.Milliseconds()
	take := func(series int64, x *run) {
		if of := p.runs[series]; of != nil && x.ms > from && x.ms <= p.at && x.ms >= of.ms {
			of.run = *x
		}
	}
	first, end, err := snap.chunkHours(ctx, from, p.at+1)
	if err != nil {
		return err
	}
	err = snap.packed(ctx, "chunk", first, end, ids, func(hour, series int64, data []byte) {
		r := readRuns(hour, data)
		for x := (run{}); r.next(&x); {
			take(series, &x)
		}
	})
	if err != nil {
		return err
	}
	return eachTail(ctx, snap.tx, from, p.at+1, ids, take)
}

// eachTail calls do with the rows of these series in the tail in [from, to), ms.
func eachTail(ctx context.Context, db bun.IDB, from, to int64, ids []int64, do func(series int64, x *run)) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := db.QueryContext(ctx, "SELECT ts_ms, series_id, scaled_value, status FROM tail"+
		" WHERE ts_ms >= ? AND ts_ms < ? AND series_id IN (?)", from, to, bun.List(ids))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var x run
		var series int64
		var v sql.NullInt64
		if err := rows.Scan(&x.ms, &series, &v, &x.status); err != nil {
			return err
		}
		x.sample = sample{v.Int64, v.Valid}
		do(series, &x)
	}
	return rows.Err()
}

// replay plays frames until a slot.
type replay struct {
	slot  int64
	wants func(probe int64) bool
	rows  map[int64]*replayed // by source
	seen  bool                // the slot was looked at
	next  map[int64]*replayed // as of the slot after it
	bad   error
	key   frame // scratch
}

// replayed is what of a frame is asked for. Of a large mesh all together would
// have millions of cells.
type replayed struct {
	frame
	// from is where in all of them each list has its cells, cells how many there are.
	from []int
	all  int
	// others are the probes that are not asked for.
	others []int64
}

func (r *replay) read(ctx context.Context, db bun.IDB) error {
	rows, err := db.QueryContext(ctx, "SELECT id, data FROM matrix_frame WHERE id >= ? AND id < ? ORDER BY id",
		(r.slot-reachSlots)<<seriesBits, (r.slot+2)<<seriesBits)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var data sql.RawBytes
		if err := rows.Scan(&id, &data); err != nil {
			return err
		}
		r.take(id>>seriesBits, data)
	}
	if !r.seen {
		r.rows = nil
	}
	r.settle()
	return rows.Err()
}

func (r *replay) take(slot int64, data []byte) {
	into := r.rows
	if r.seen = r.seen || slot == r.slot; slot > r.slot {
		if r.next == nil {
			r.next = map[int64]*replayed{}
		}
		into = r.next
	}
	err := frames(data, func(source int64, kind uint64, body []byte) {
		f := into[source]
		switch {
		case kind == frameSilent:
			delete(into, source)
			return
		case kind == frameKey:
			if err := r.key.read(body); err != nil {
				r.bad = err
				return
			}
			if f == nil {
				f = &replayed{}
				into[source] = f
			}
			f.choose(&r.key, r.wants)
			return
		case f == nil && slot > r.slot && r.rows[source] != nil:
			copied := *r.rows[source]
			copied.cells = slices.Clone(copied.cells)
			f = &copied
			into[source] = f
		case f == nil:
			return
		}
		if err := readDelta(body, f.all, f.set); err != nil {
			r.bad = err
			delete(into, source)
		}
	})
	if err != nil {
		r.bad = err
	}
}

// choose makes f what of a whole frame is asked for. Lists are never changed: the
// slot after it may have the same ones.
func (f *replayed) choose(whole *frame, wants func(probe int64) bool) {
	was := f.lists
	*f = replayed{frame: frame{cells: f.cells[:0]}}
	for _, l := range whole.lists {
		if end := f.all + len(l.dests); wants(l.probe) {
			i := slices.IndexFunc(was, func(o frameList) bool { return slices.Equal(o.dests, l.dests) })
			if i >= 0 {
				l.dests = was[i].dests
			} else {
				l.dests = slices.Clone(l.dests)
			}
			f.lists, f.from = append(f.lists, l), append(f.from, f.all)
			f.cells = append(f.cells, whole.cells[f.all:end]...)
		} else {
			f.others = append(f.others, l.probe)
		}
		f.all += len(l.dests)
	}
}

// set changes the cell at a place among all of the whole frame.
func (f *replayed) set(place int, c frameCell) {
	at := 0
	for i, l := range f.lists {
		if place >= f.from[i] && place < f.from[i]+len(l.dests) {
			f.cells[at+place-f.from[i]] = c
		}
		at += len(l.dests)
	}
}

// settle brings in what the slot after it says of this one: RTT that has changed
// is only written down when it has lasted.
func (r *replay) settle() {
	for source, next := range r.next {
		f := r.rows[source]
		if f == nil || !f.sameShape(&next.frame) {
			continue
		}
		for i, c := range next.cells {
			if was := &f.cells[i]; was.status == c.status && was.bucket != 0 && c.bucket != 0 {
				was.bucket = c.bucket
			}
		}
	}
	r.next = nil
}

// words reads what the numbers stand for.
func (p *past) words(ctx context.Context, db bun.IDB) error {
	var codes []codeRow
	if err := db.NewSelect().Model(&codes).Column("id", "reason", "message").Scan(ctx); err != nil {
		return err
	}
	var names []nameRow
	if err := db.NewSelect().Model(&names).Column("id", "name").Scan(ctx); err != nil {
		return err
	}
	p.codes, p.names = make(map[int64]codeRow, len(codes)), make(map[int64]string, len(names))
	for _, c := range codes {
		p.codes[c.ID] = c
	}
	for _, n := range names {
		p.names[n.ID] = n.Name
	}
	return nil
}

func (p *past) matrix() core.Matrix {
	m := core.Matrix{p.store.o.Self: rowOf(p.ownPaths(), p.query)}
	ids := p.nodeIDs()
	for source, f := range p.peers.rows {
		if id := ids[source]; !id.IsZero() {
			m[id] = func(row *core.MatrixRow) { p.peerRow(row, id, f, ids) }
		}
	}
	return m
}

func (p *past) ownPaths() (all []core.PathStatus) {
	for _, of := range p.runs {
		id, err := core.ParseNodeID(of.node)
		if of.ms == 0 || err != nil {
			continue
		}
		path := p.status(of.status, core.PathStatus{Source: p.store.o.Self, Destination: id, Probe: of.probe, At: time.UnixMilli(of.ms)})
		if of.ok {
			path.RTT = time.Duration(of.v) * time.Microsecond
		}
		all = append(all, path)
	}
	return all
}

func (p *past) peerRow(row *core.MatrixRow, source core.NodeID, f *replayed, ids map[int64]core.NodeID) {
	row.Reset()
	for _, other := range f.others {
		if name := p.names[other]; name != "" {
			row.Probes = append(row.Probes, name)
		}
	}
	cells := f.cells
	for _, l := range f.lists {
		for i, d := range l.dests {
			at := core.PathStatus{Source: source, Destination: ids[d], Probe: p.names[l.probe], At: time.UnixMilli(p.peers.slot * slotMS)}
			if at.Destination.IsZero() || at.Probe == "" {
				continue
			}
			at = p.status(cells[i].status, at)
			at.RTT = time.Duration(bucketUS(cells[i].bucket)) * time.Microsecond
			row.Add(p.query, at)
		}
		cells = cells[len(l.dests):]
	}
}

// nodeIDs is the nodes among the names.
func (p *past) nodeIDs() map[int64]core.NodeID {
	ids := make(map[int64]core.NodeID, len(p.names))
	for number, name := range p.names {
		if id, err := core.ParseNodeID(name); err == nil {
			ids[number] = id
		}
	}
	return ids
}

// status fills in what a code stands for. One that is gone still has its outcome.
func (p *past) status(code int64, of core.PathStatus) core.PathStatus {
	of.Outcome = core.Outcome(code & 7)
	if code >= 8 {
		of.Reason, of.Message = core.Reason(p.codes[code].Reason), p.codes[code].Message
	}
	return of
}
