package store

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/seahow-uk/nodeprobe/core"
)

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
