package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// viewList is the pairs of one probe, as the head of a packed view lists them.
type viewList struct {
	probe string
	n     int
	// numbers of the destinations that have one, rising, and behind them those that
	// have none; empty when the pairs are not asked for.
	numbers []int64
	others  []core.NodeID
	metrics []viewMetric
}

type viewMetric struct {
	name string
	some bool // of the pairs have none
}

// unpackView puts the pairs in b into row, all of source, but for those whose
// destination is not among nodes. b is not trusted: the file may be damaged.
// Columns behind the last one that is asked for are not looked at.
func unpackView(row *core.MatrixRow, source core.NodeID, nodes []numberedNode, b []byte, q core.MatrixQuery) error {
	row.Reset()
	r, cols, err := openView(b, q.Wants)
	if err != nil {
		return err
	}
	u := viewUnpacker{viewColumns: cols, row: row, source: source, nodes: nodes, query: q}
	todo := 0
	for i, l := range r.lists {
		row.Probes = append(row.Probes, l.probe)
		if q.Wants(l.probe) {
			todo = i + 1
		}
	}
	for i := range r.lists[:todo] {
		if l := &r.lists[i]; q.Wants(l.probe) {
			u.list(l)
		} else {
			u.skip(l)
		}
	}
	if u.bad || u.left < 0 || todo == len(r.lists) && u.left >= 8 {
		row.Reset()
		return errBadView
	}
	return nil
}

// openView reads the head of a packed view; behind it are the columns of its lists.
func openView(b []byte, wants func(probe string) bool) (r viewReader, cols viewColumns, err error) {
	if len(b) == 0 || b[0] != viewVersion {
		return r, cols, fmt.Errorf("%w: unknown version", errBadView)
	}
	r = viewReader{numbers: numbers{b: b[1:]}, texts: make([]string, 1, 16)}
	r.head(wants)
	if r.err != nil {
		return r, cols, errBadView
	}
	return r, viewColumns{rollupReader: rollupReader{bitReader: readBits(r.b)}, newest: r.newest, states: r.states}, nil
}

// viewReader reads what is before the columns. After an error all is zero.
type viewReader struct {
	numbers
	newest  int64 // ms
	texts   []string
	states  []codeKey
	left    uint64 // pairs that may come
	lists   []viewList
	scratch []int64
}

func (r *viewReader) head(wants func(string) bool) {
	r.newest, r.left = int64(r.most(1<<53)), maxPairs
	for range r.most(uint64(len(r.b))) {
		r.texts = append(r.texts, string(r.bytes(r.most(1024))))
	}
	for range r.most(uint64(len(r.b))) {
		s := codeKey{outcome: core.OutcomeSuccess}
		if b := r.bytes(1); b != nil {
			s.outcome = core.Outcome(b[0])
		}
		s.reason, s.message = r.text(r.most(maxName)), r.text(r.most(maxName))
		if r.states = append(r.states, s); s.outcome.String() == "" {
			r.fail()
		}
	}
	r.lists = make([]viewList, r.most(min(maxPairs, uint64(len(r.b)))))
	for i := range r.lists {
		r.list(&r.lists[i], wants)
	}
}

func (r *viewReader) list(l *viewList, wants func(string) bool) {
	l.probe = r.text(r.most(maxName))
	keep := wants(l.probe)
	r.scratch = readRising(&r.numbers, r.left, r.scratch)
	r.left -= uint64(len(r.scratch))
	more := r.most(r.left)
	ids := r.bytes(more * uint64(len(core.NodeID{})))
	r.left -= more
	l.n = len(r.scratch) + len(ids)/len(core.NodeID{})
	if keep {
		l.numbers, r.scratch = r.scratch, nil
		for id := range slices.Chunk(ids, len(core.NodeID{})) {
			l.others = append(l.others, core.NodeID(id))
		}
	}
	for range r.most(maxPairMetrics) {
		n := r.most(2 * maxName)
		l.metrics = append(l.metrics, viewMetric{r.text(n >> 1), n&1 == 1})
	}
}

// most reads a number of at most limit.
func (r *viewReader) most(limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v := r.uvarint()
	if v > limit {
		r.fail()
	}
	if r.err != nil {
		return 0
	}
	return v
}

func (r *viewReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
	}
	if r.err != nil {
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *viewReader) text(n uint64) string {
	if n >= uint64(len(r.texts)) {
		r.fail()
		return ""
	}
	return r.texts[n]
}

// viewColumns reads the columns, in their order.
type viewColumns struct {
	rollupReader
	newest int64 // ms
	states []codeKey
	have   []int // scratch
}

// state, age and rtt are columns of n pairs, valid until the next one is read.
func (c *viewColumns) state(n int) []uint64 {
	c.bad = c.bad || n > 0 && len(c.states) == 0
	return c.column(n, max(1, uint64(len(c.states)))-1)
}

func (c *viewColumns) age(n int) []uint64 { return c.column(n, 1<<43) }
func (c *viewColumns) rtt(n int) []uint64 { return c.column(n, uint64(maxRTT.Microseconds())) }

// metric reads a metric of n pairs: the places of those that have it, nil when all
// do, and their scaled values less the one before.
func (c *viewColumns) metric(n int, m viewMetric) (have []int, values []uint64) {
	if !m.some {
		return nil, c.column(n, 4*maxScaled-1)
	}
	c.have = slices.Grow(c.have[:0], n)
	for i, missing := range c.column(n, 1) {
		if missing == 0 {
			c.have = append(c.have, i)
		}
	}
	return c.have, c.column(len(c.have), 4*maxScaled-1)
}

func (c *viewColumns) skip(l *viewList) {
	c.state(l.n)
	c.age(l.n)
	c.rtt(l.n)
	for _, m := range l.metrics {
		c.metric(l.n, m)
	}
}

// viewUnpacker makes paths of lists.
type viewUnpacker struct {
	viewColumns
	row    *core.MatrixRow
	source core.NodeID
	nodes  []numberedNode
	query  core.MatrixQuery
}

func (u *viewUnpacker) list(l *viewList) {
	first := len(u.row.Paths)
	nodes := u.nodes
	for _, n := range l.numbers {
		for len(nodes) > 0 && nodes[0].number < n {
			nodes = nodes[1:]
		}
		var id core.NodeID // zero: nobody knows it any more
		if len(nodes) > 0 && nodes[0].number == n {
			id = nodes[0].id
		}
		u.row.Paths = append(u.row.Paths, core.PathStatus{Source: u.source, Destination: id, Probe: l.probe})
	}
	for _, id := range l.others {
		u.row.Paths = append(u.row.Paths, core.PathStatus{Source: u.source, Destination: id, Probe: l.probe})
	}
	fresh := u.row.Paths[first:]
	for i, s := range u.state(l.n) {
		if !u.bad {
			fresh[i].Outcome, fresh[i].Reason, fresh[i].Message = u.states[s].outcome, core.Reason(u.states[s].reason), u.states[s].message
		}
	}
	for i, age := range u.age(l.n) {
		fresh[i].At = time.UnixMilli(u.newest - int64(age)*ageMS)
	}
	for i, us := range u.rtt(l.n) {
		fresh[i].RTT = time.Duration(us) * time.Microsecond
	}
	u.metrics(fresh, l)
	u.row.Paths = slices.DeleteFunc(u.row.Paths, func(p core.PathStatus) bool { return p.Destination.IsZero() })
}

// room is the row's where there is one list only.
func (u *viewUnpacker) room(n int) []core.Metric {
	if u.query.Probe == "" {
		return make([]core.Metric, n)
	}
	return u.row.Room(n)
}

func (u *viewUnpacker) metrics(pairs []core.PathStatus, l *viewList) {
	asked := len(l.metrics)
	if u.query.Metric != "" {
		asked = min(asked, 1)
	}
	room := u.room(asked * len(pairs))
	for _, m := range l.metrics {
		if !slices.Contains(u.row.Metrics, m.name) {
			u.row.Metrics = append(u.row.Metrics, m.name)
		}
		have, values := u.metric(l.n, m)
		if u.query.Metric != "" && u.query.Metric != m.name {
			continue
		}
		var last int64
		for i, v := range values {
			if last += unzigzag(v); last <= -maxScaled || last >= maxScaled {
				u.bad, last = true, 0
			}
			if have != nil {
				i = have[i]
			}
			p, at := &pairs[i], i*asked
			if p.Metrics == nil {
				p.Metrics = room[at : at : at+asked]
			}
			p.Metrics = append(p.Metrics, core.Metric{Name: m.name, Value: float64(last) / float64(scaleOf(m.name))})
		}
	}
}
