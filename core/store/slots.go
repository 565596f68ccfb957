package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

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

// slotStep is one transaction of a slot.
type slotStep struct {
	slot   int64
	part   []core.NodeID
	probes map[string]bool // that self knows
	rows   map[core.NodeID]*slotRowState
	known  map[int64]string // names of the nodes that are known, by number
	naming
	codes resultRows // of it only the codes
	out   []frameRow
	data  []byte
}

func (p *slotStep) run(ctx context.Context) error {
	w := p.c.w
	p.data = []byte{} // never NULL
	p.codes.codes, p.probes = map[int64]codeRow{}, map[string]bool{}
	p.known = p.nodes()
	for k := range w.paths.paths {
		p.probes[k.probe] = true
	}
	ids := make([]string, len(p.part))
	for i, id := range p.part {
		ids[i] = id.String()
	}
	var views []viewRow
	if err := p.c.tx.NewSelect().Model(&views).Where("source IN (?)", bun.List(ids)).Order("source").Scan(ctx); err != nil {
		return err
	}
	for _, v := range views {
		p.add(v)
	}
	if len(p.data) > 0 || w.slots.row+int64(len(p.out)) == 0 {
		p.endRow()
	}
	if err := p.save(ctx); err != nil {
		return err
	}
	p.c.onSuccess(func() {
		maps.Copy(w.slots.rows, p.rows)
		w.slots.row += int64(len(p.out))
		for _, r := range p.out {
			w.slots.size = w.slots.size.plus(size{1, int64(len(r.Data)) + w.rowSizes.packed})
		}
	})
	return nil
}

func (p *slotStep) save(ctx context.Context) error {
	if err := p.c.saveCodes(ctx, p.codes.codes); err != nil {
		return err
	}
	if err := p.naming.save(ctx); err != nil {
		return err
	}
	if len(p.out) == 0 {
		return nil
	}
	_, err := p.c.tx.NewInsert().Model(&p.out).On("CONFLICT (id) DO UPDATE").Set("data = EXCLUDED.data").Returning("").Exec(ctx)
	return err
}

func (p *slotStep) endRow() {
	id := p.slot<<seriesBits | (p.c.w.slots.row + int64(len(p.out)))
	p.out = append(p.out, frameRow{ID: id, Data: p.data})
	p.data = []byte{}
}

// add writes down how one peer's row stands.
func (p *slotStep) add(v viewRow) {
	source, err := core.ParseNodeID(v.Source)
	if err != nil {
		return
	}
	was := p.c.w.slots.rows[source]
	if v.AtMS < p.slot*slotMS-slotMS {
		if was == nil || !was.silent {
			p.frame(p.name(v.Source), frameSilent, nil)
		}
		p.rows[source] = &slotRowState{silent: true}
		return
	}
	now, err := p.frameOf(v.Packed)
	if err != nil {
		return // Matrix tells of it
	}
	fresh := &slotRowState{keyed: p.slot, doubtful: map[int]uint8{}}
	p.rows[source] = fresh
	number := p.name(v.Source)
	if was != nil && !was.silent {
		before, err := readKey(was.key)
		if err == nil && before.sameShape(&now) {
			steady(before.cells, now.cells, was.doubtful, fresh.doubtful)
			age := p.slot - was.keyed
			if age < keySlots && (age < keySlots/2 || (p.slot+number)%keySlots != 0) {
				fresh.keyed = was.keyed
				if delta := appendDelta(nil, before.cells, now.cells); len(delta) > 0 {
					p.frame(number, frameDelta, delta)
				}
				fresh.key = appendKey(nil, &now)
				return
			}
		}
	}
	fresh.key = appendKey(nil, &now)
	p.useNames(v.Source, &now)
	p.frame(number, frameKey, fresh.key)
}

// steady leaves the RTT of cells as it was when it is not a bucket and more off,
// or not for the second time.
func steady(was, now []frameCell, doubtful, doubt map[int]uint8) {
	far := func(a, b uint8) bool { return a > b+1 || b > a+1 }
	for i := range now {
		before, b := was[i], now[i].bucket
		if before.status != now[i].status || before.bucket == 0 || b == 0 {
			continue
		}
		if far(before.bucket, b) {
			if d, ok := doubtful[i]; ok && !far(d, b) {
				continue
			}
			doubt[i] = b
		}
		now[i].bucket = before.bucket
	}
}

func (p *slotStep) frame(source int64, kind uint64, body []byte) {
	if len(p.data) > 0 && len(p.data)+len(body) > slotRow {
		p.endRow()
	}
	p.data = appendFrame(p.data, source, kind, body)
}

// useNames keeps the names of a key frame from being forgotten.
func (p *slotStep) useNames(source string, f *frame) {
	ids := p.c.w.slots.names.ids
	p.use(source, ids[source])
	for probe := range p.probes {
		if n, ok := ids[probe]; ok && slices.ContainsFunc(f.lists, func(l frameList) bool { return l.probe == n }) {
			p.use(probe, n)
		}
	}
	for _, l := range f.lists {
		for _, d := range l.dests {
			p.use(p.known[d], d)
		}
	}
}

// nodes is self and the nodes that are known, as far as they have a number.
func (p *slotStep) nodes() map[int64]string {
	w := p.c.w
	known := make(map[int64]string, len(w.admitted)+1)
	add := func(id core.NodeID) {
		name := id.String()
		if number, ok := w.slots.names.ids[name]; ok {
			known[number] = name
		}
	}
	add(w.s.o.Self)
	for id := range w.admitted {
		add(id)
	}
	return known
}

// frameOf is a view as a frame, without making paths of it: a step has a hundred
// thousand of them. Nodes and probes that self does not know are left out: a peer
// must not make up names without end.
func (p *slotStep) frameOf(packed []byte) (f frame, err error) {
	r, cols, err := openView(packed, func(probe string) bool { return p.probes[probe] })
	if err != nil {
		return f, err
	}
	byProbe := map[int64][]numberedCell{}
	codes := make([]int64, len(r.states)) // of the states that are in use
	for i := range r.lists {
		l := &r.lists[i]
		if !p.probes[l.probe] {
			cols.skip(l)
			continue
		}
		cells := p.dests(l)
		for i, state := range cols.state(l.n) {
			if cols.bad || cells[i].dest == 0 {
				continue
			}
			if codes[state] == 0 {
				s := r.states[state]
				codes[state] = p.c.code(codeKey{s.outcome, s.reason, ""}, p.slot*slotMS/hourMS, &p.codes)
			}
			cells[i].status = codes[state]
		}
		cols.age(l.n)
		for i, us := range cols.rtt(l.n) {
			cells[i].bucket = bucketOf(int64(us))
		}
		for _, m := range l.metrics {
			cols.metric(l.n, m)
		}
		probe := p.name(l.probe)
		byProbe[probe] = append(byProbe[probe], cells...)
	}
	if cols.bad || cols.left < 0 || cols.left >= 8 {
		return f, errBadView
	}
	for _, probe := range slices.Sorted(maps.Keys(byProbe)) {
		f.add(probe, byProbe[probe])
	}
	return f, nil
}

// numberedCell is a cell with the number of its destination.
type numberedCell struct {
	dest int64
	frameCell
}

// dests is cells for the pairs of a list; 0 is a destination that self does not know.
func (p *slotStep) dests(l *viewList) []numberedCell {
	cells := make([]numberedCell, l.n)
	for i, n := range l.numbers {
		if _, ok := p.known[n]; ok {
			cells[i].dest = n
		}
	}
	for i, id := range l.others {
		if p.c.w.admitted[id] || id == p.c.w.s.o.Self {
			name := id.String()
			n := p.name(name)
			p.known[n], cells[len(l.numbers)+i].dest = name, n
		}
	}
	return cells
}

// add appends a list with the cells that have a destination.
func (f *frame) add(probe int64, cells []numberedCell) {
	cells = slices.DeleteFunc(cells, func(c numberedCell) bool { return c.dest == 0 })
	slices.SortStableFunc(cells, func(a, b numberedCell) int { return cmp.Compare(a.dest, b.dest) })
	cells = slices.CompactFunc(cells, func(a, b numberedCell) bool { return a.dest == b.dest })
	if len(cells) == 0 {
		return
	}
	l := frameList{probe: probe, dests: make([]int64, len(cells))}
	for i, c := range cells {
		l.dests[i] = c.dest
		f.cells = append(f.cells, c.frameCell)
	}
	f.lists = append(f.lists, l)
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
