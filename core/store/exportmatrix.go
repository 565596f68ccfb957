package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

// frameRows are read at once.
const frameRows = 100

// Matrix calls do with what peers told of their rows, as it changed: what a pair
// was from At on, until there is another of it. RTT is within 25 %. A peer that
// was silent has one with Outcome 0 and no destination.
func (r *Reader) Matrix(ctx context.Context, q ExportQuery, do func(core.PathStatus) error) error {
	counts, err := r.frameCount(ctx)
	if err != nil {
		return err
	}
	e := matrixExport{q: q, words: past{store: r.s, codes: map[int64]codeRow{}, names: map[int64]string{}}, ids: map[int64]core.NodeID{}, rows: map[int64]*frame{}, do: do}
	e.from, e.to = q.bounds()
	for last, done := int64(0), int64(0); ; {
		var rows []frameRow
		if err := r.s.reader.NewSelect().Model(&rows).Where("id > ?", last).Order("id").Limit(frameRows).Scan(ctx); err != nil {
			return fmt.Errorf("read the history of the matrix: %w", err)
		}
		if err := e.learn(ctx, r.s.reader); err != nil {
			return fmt.Errorf("read names: %w", err)
		}
		for _, row := range rows {
			last = row.ID
			if err := e.take(row.ID>>seriesBits, row.Data); err != nil {
				return err
			}
		}
		done += int64(len(rows))
		q.progress(done, max(done, counts))
		if len(rows) < frameRows {
			return nil
		}
	}
}

func (r *Reader) frameCount(ctx context.Context) (n int64, err error) {
	if err := r.s.reader.NewSelect().Model((*frameRow)(nil)).ColumnExpr("COUNT(*)").Scan(ctx, &n); err != nil {
		return 0, fmt.Errorf("read the history of the matrix: %w", err)
	}
	return n, nil
}

// learn reads the words of frames that were read: a node may have got its number
// since the frames before. A word that is gone since stays.
func (e *matrixExport) learn(ctx context.Context, db bun.IDB) error {
	var now past
	if err := now.words(ctx, db); err != nil {
		return err
	}
	maps.Copy(e.words.codes, now.codes)
	maps.Copy(e.words.names, now.names)
	maps.Copy(e.ids, now.nodeIDs())
	return nil
}

type matrixExport struct {
	q        ExportQuery
	from, to int64 // ms
	words    past
	ids      map[int64]core.NodeID
	rows     map[int64]*frame // by source
	do       func(core.PathStatus) error
}

// take is told a row of the table; behind damage in it there is nothing.
func (e *matrixExport) take(slot int64, data []byte) (err error) {
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	_ = frames(data, func(source int64, kind uint64, body []byte) {
		was := e.rows[source]
		switch kind {
		case frameSilent:
			delete(e.rows, source)
			keep(e.tell(slot, core.PathStatus{Source: e.ids[source]}, frameCell{}))
		case frameKey:
			f, bad := readKey(body)
			if bad != nil {
				delete(e.rows, source)
				return
			}
			e.rows[source] = &f
			same := was != nil && was.sameShape(&f)
			for i, c := range f.cells {
				if !same || was.cells[i] != c {
					keep(e.cell(slot, source, &f, i))
				}
			}
		case frameDelta:
			if was == nil {
				return
			}
			_ = readDelta(body, len(was.cells), func(i int, c frameCell) {
				was.cells[i] = c
				keep(e.cell(slot, source, was, i))
			})
		}
	})
	return err
}

func (e *matrixExport) cell(slot, source int64, f *frame, i int) error {
	at := i
	for _, l := range f.lists {
		if at < len(l.dests) {
			return e.tell(slot, core.PathStatus{Source: e.ids[source], Destination: e.ids[l.dests[at]], Probe: e.words.names[l.probe]}, f.cells[i])
		}
		at -= len(l.dests)
	}
	return nil
}

func (e *matrixExport) tell(slot int64, p core.PathStatus, c frameCell) error {
	ms := slot * slotMS
	if ms < e.from || ms >= e.to || e.q.Node != "" && !slices.Contains([]string{p.Source.String(), p.Destination.String()}, e.q.Node) ||
		e.q.Probe != "" && p.Probe != "" && p.Probe != e.q.Probe {
		return nil
	}
	p = e.words.status(c.status, p)
	p.At, p.RTT = time.UnixMilli(ms), time.Duration(bucketUS(c.bucket))*time.Microsecond
	return e.do(p)
}
