package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// slotMS is the grain of the history of the matrix, ms.
	slotMS = 600_000
	// keySlots is the longest from one key frame of a peer to the next: 6 h.
	// Within reach of any slot there is one, even if some slots are missing.
	keySlots   = 36
	reachSlots = keySlots + keySlots/3
	// slotSources are looked at in one transaction.
	slotSources = 64
	// slotRow bytes are enough for one row. Of much less than a few pages, half
	// could be lost: two rows of 2.5 KB take two pages.
	slotRow = 16_000
	// matrixShare of MaxBytes is what the history of the matrix may take: of 100
	// nodes with three probes, all of a day in the default.
	matrixShare = 25
)

// slots is what the writer knows of the history of the matrix.
type slots struct {
	last int64 // the newest slot begun
	size size
	// todo are the peers still to look at in slot last.
	todo []core.NodeID
	row  int64 // number of the next row in slot last
	// rows are what the frames of this process say.
	rows  map[core.NodeID]*slotRowState
	names nameCache
}

// slotRowState is what the frames say of one peer.
type slotRowState struct {
	key    []byte // all of it, as a key frame
	keyed  int64  // slot of the last key frame
	silent bool
	// doubtful are RTT by cell that have changed, and count when they last until
	// the next slot: one run that took longer is no change of the path.
	doubtful map[int]uint8
}

func (w *writer) loadSlots(ctx context.Context) error {
	w.slots = slots{rows: map[core.NodeID]*slotRowState{}, names: nameCache{ids: map[string]int64{}, used: map[string]int64{}, nodes: map[core.NodeID]nodeName{}}}
	err := w.db.NewSelect().Model((*frameRow)(nil)).ColumnExpr("COUNT(*), COALESCE(SUM(LENGTH(data) + ?), 0), COALESCE(MAX(id), 0) >> ?", w.rowSizes.packed, seriesBits).
		Scan(ctx, &w.slots.size.rows, &w.slots.size.bytes, &w.slots.last)
	if err != nil {
		return fmt.Errorf("measure history of the matrix: %w", err)
	}
	var names []nameRow
	if err := w.db.NewSelect().Model(&names).Scan(ctx); err != nil {
		return fmt.Errorf("read names: %w", err)
	}
	for _, n := range names {
		w.slots.names.ids[n.Name], w.slots.names.used[n.Name] = n.ID, n.UsedHour
		w.slots.names.last = max(w.slots.names.last, n.ID)
	}
	return nil
}

// addSlot does one step of writing down what peers told, every ten minutes.
func (w *writer) addSlot(ctx context.Context, now time.Time) (more bool, err error) {
	slot := now.UnixMilli() / slotMS
	if slot < w.slots.last-1 {
		w.s.o.Log.Warn("the clock was set back: of times that were looked at before, the matrix stays as it is", "from", timeOfMS(w.slots.last*slotMS).UTC())
		w.slots.last = slot - 2 // a gap
	}
	if slot > w.slots.last {
		if err := w.beginSlot(ctx, slot); err != nil {
			return false, err
		}
	}
	if len(w.slots.todo) == 0 {
		return false, nil
	}
	n := min(len(w.slots.todo), slotSources)
	step := slotStep{slot: w.slots.last, part: w.slots.todo[:n], rows: map[core.NodeID]*slotRowState{}}
	w.slots.todo = w.slots.todo[n:] // those of a step that fails wait for the next slot
	err = w.inTx(ctx, func(ctx context.Context, c *commit) error {
		step.naming = c.names(step.slot * slotMS / hourMS)
		return step.run(ctx)
	})
	if err != nil {
		return false, fmt.Errorf("add to the history of the matrix: %w", err)
	}
	return len(w.slots.todo) > 0, nil
}

// beginSlot lists the peers to look at. A slot has a row at least: one without
// was not looked at. One with rows comes for the second time, because the clock is
// wrong or was: what it has stays. Behind a gap there are key frames, so that what
// a wrong clock brings into the gap changes nothing of what is behind it.
func (w *writer) beginSlot(ctx context.Context, slot int64) error {
	there, err := w.db.NewSelect().Model((*frameRow)(nil)).Where("id >= ? AND id < ?", slot<<seriesBits, (slot+1)<<seriesBits).Exists(ctx)
	if err != nil {
		return fmt.Errorf("read the history of the matrix: %w", err)
	}
	if there || slot != w.slots.last+1 {
		clear(w.slots.rows)
	}
	if there {
		w.slots.last, w.slots.todo = slot, nil
		return nil
	}
	var sources []string
	if err := w.db.NewSelect().Model((*viewRow)(nil)).Column("source").Order("source").Scan(ctx, &sources); err != nil {
		return fmt.Errorf("read views: %w", err)
	}
	w.slots.last, w.slots.row, w.slots.todo = slot, 0, nil
	for _, s := range sources {
		if id, err := core.ParseNodeID(s); err == nil {
			w.slots.todo = append(w.slots.todo, id)
		}
	}
	maps.DeleteFunc(w.slots.rows, func(id core.NodeID, _ *slotRowState) bool { return !slices.Contains(w.slots.todo, id) })
	if len(w.slots.todo) == 0 {
		w.slots.todo = []core.NodeID{{}} // nobody: an empty row
	}
	return nil
}

// dropSlots drops a step of the slots before a time, ms, and the oldest when
// there are more than their share.
func (w *writer) dropSlots(ctx context.Context, before int64) (more bool, err error) {
	most := w.s.o.MaxBytes / matrixShare
	first, err := w.firstID(ctx, "matrix_frame")
	if err != nil || w.slots.size.bytes <= most && (first == 0 || first >= before/slotMS<<seriesBits) {
		return false, err
	}
	var old []struct{ ID, Bytes int64 }
	q := w.db.NewSelect().Model((*frameRow)(nil)).ColumnExpr("id, LENGTH(data) AS bytes").Order("id").Limit(dropRows)
	if w.slots.size.bytes <= most {
		q = q.Where("id < ?", before/slotMS<<seriesBits)
	}
	if err := q.Scan(ctx, &old); err != nil || len(old) == 0 {
		return false, err
	}
	through, left := old[0].ID, w.slots.size
	var early int64
	for _, r := range old {
		if r.ID >= before/slotMS<<seriesBits {
			if left.bytes <= most {
				break
			}
			early++
		}
		through, left = r.ID, left.minus(size{1, r.Bytes + w.rowSizes.packed})
	}
	if _, err := w.db.NewDelete().Model((*frameRow)(nil)).Where("id <= ?", through).Exec(ctx); err != nil {
		return false, fmt.Errorf("trim the history of the matrix: %w", err)
	}
	w.slots.size = left
	clear(w.edges)
	w.noteDropped(Drop{Kind: core.DropMatrix, Through: timeOfMS((through>>seriesBits + 1) * slotMS), Rows: early})
	return true, nil
}
