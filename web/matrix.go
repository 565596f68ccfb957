package web

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// matrixHead and matrixTail are the answer but for its rows, which come in between
// one by one: in a large mesh they have millions of cells.
type matrixHead struct {
	At    time.Time `json:"at"`
	Probe string    `json:"probe"`
	// Metric is what the cells have the value of.
	Metric string `json:"metric"`
	// StaleAfter is the age from which a cell says nothing about At.
	StaleAfter float64 `json:"stale_after_seconds"`
	// Nodes are the columns, and in the same order the sources of rows.
	Nodes []matrixNode `json:"nodes"`
}

type matrixTail struct {
	// Probes and Metrics are what else there is: names of the probes that have paths,
	// and of what this one measured.
	Probes  []string `json:"probes"`
	Metrics []string `json:"metrics"`
	// Unknown counts paths left out because one end is no node that self knows.
	Unknown int `json:"unknown_paths"`
}

type matrixNode struct {
	ID   core.NodeID `json:"id"`
	Name string      `json:"name"`
	// Address is where it is dialled: it tells nodes of one host apart.
	Address string `json:"address"`
	Self    bool   `json:"self"`
}

// staleIntervals make a result old.
const staleIntervals = 3

// pastGrain is how far apart peers' rows of past matrices are.
const pastGrain = 10 * time.Minute

// cell is null when the path was never measured.
type cell struct {
	Outcome string      `json:"outcome"`
	Reason  core.Reason `json:"reason,omitempty"`
	Message string      `json:"message,omitempty"`
	RTT     int64       `json:"rtt_us,omitempty"`
	// Value is that of the metric, unless it is RTT; null where it was not measured.
	Value *float64  `json:"value,omitempty"`
	At    time.Time `json:"at"`
}

// getMatrix answers GET /api/v1/matrix: who sees whom by one probe, now or at a
// past time.
func (s *Server) getMatrix(w http.ResponseWriter, r *http.Request, c caller) {
	p := query(r, "probe", "metric", "at")
	probe := s.probe(p.word("probe", ""))
	metric, at := p.metric("metric", metricRTT), p.time("at", time.Time{})
	if at.After(time.Now()) {
		p.fail("at", "want a time that is not ahead")
	}
	if p.refused(w) {
		return
	}
	s.inTurn(w, r, c, "matrix", func(ctx context.Context) error {
		rows, err := s.store.Matrix(ctx, core.MatrixQuery{At: at, Probe: probe.Name, Metric: metric})
		if err != nil {
			return err
		}
		m := s.matrix(probe, metric, rows, at)
		if err := m.known(s); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		m.write(w)
		return nil
	})
}

// probe is the instance called name; the identifying one when name is empty.
func (s *Server) probe(name string) core.ProbeInfo {
	for _, p := range s.plugins.Probes() {
		if p.Name == name || name == "" && p.Identifies {
			return p
		}
	}
	return core.ProbeInfo{Name: name}
}

// matrix is what an answer is made of.
type matrix struct {
	head  matrixHead
	tail  matrixTail
	rows  core.Matrix
	own   []core.PathStatus // self's, as they are in memory
	self  core.NodeID
	place map[core.NodeID]int
	// seen is when each peer was last heard of; nil of a past matrix.
	seen     map[core.NodeID]time.Time
	interval time.Duration
	// scratch
	row   core.MatrixRow
	cells []*cell
	room  []cell
}

// matrix is that of a past time unless at is zero. Self's own paths of now are as
// they are in memory: newer than the stored ones, and there when nothing can be
// written.
func (s *Server) matrix(probe core.ProbeInfo, metric string, rows core.Matrix, at time.Time) *matrix {
	m := &matrix{rows: rows, self: s.self.ID, interval: probe.Interval, head: matrixHead{
		At: at.UTC(), Probe: probe.Name, Metric: metric, StaleAfter: s.staleAfter(probe).Seconds(),
		Nodes: []matrixNode{{s.self.ID, selfName(s.self), s.self.Advertise.String(), true}},
	}}
	peers := s.peers()
	for _, n := range peers {
		m.head.Nodes = append(m.head.Nodes, matrixNode{ID: n.ID, Name: n.Name(), Address: n.Address()})
	}
	slices.SortStableFunc(m.head.Nodes, func(a, b matrixNode) int { return cmp.Compare(a.Name, b.Name) })
	m.place = make(map[core.NodeID]int, len(m.head.Nodes))
	for i, n := range m.head.Nodes {
		m.place[n.ID] = i
	}
	m.cells, m.room = make([]*cell, len(m.head.Nodes)), make([]cell, len(m.head.Nodes))
	if !at.IsZero() {
		m.head.StaleAfter += pastGrain.Seconds()
		return m
	}
	m.head.At = time.Now().UTC()
	m.own, _ = s.engine.View()
	m.seen = make(map[core.NodeID]time.Time, len(peers))
	for _, n := range peers {
		m.seen[n.ID] = n.LastSeen
	}
	return m
}

// known fails when nobody has a path of the probe, and self does not run it.
func (m *matrix) known(s *Server) error {
	err := s.knownProbe(m.head.Probe)
	for _, n := range m.head.Nodes {
		if err == nil {
			break
		}
		m.read(n.ID)
		err = s.knownProbe(m.head.Probe, m.row.Probes...)
	}
	return err
}

// read reads what a node sees.
func (m *matrix) read(source core.NodeID) {
	m.row.Reset()
	if read := m.rows[source]; read != nil {
		read(&m.row)
	}
	if source == m.self {
		for _, p := range m.own {
			m.row.Add(core.MatrixQuery{Probe: m.head.Probe}, p)
		}
	}
}

// write writes the answer row by row. Nothing of it can fail but the connection.
func (m *matrix) write(to io.Writer) {
	w := bufio.NewWriterSize(to, 64<<10)
	defer w.Flush() //nolint:errcheck // the caller is gone: nobody is left to tell
	head, _ := json.Marshal(m.head)
	_, _ = w.Write(append(head[:len(head)-1], `,"rows":[`...))
	rows := json.NewEncoder(w)
	for i, n := range m.head.Nodes {
		if i > 0 {
			_ = w.WriteByte(',')
		}
		m.read(n.ID)
		m.fill(n.ID)
		if rows.Encode(m.cells) != nil {
			return
		}
	}
	for source := range m.rows {
		if _, known := m.place[source]; !known {
			m.read(source)
			m.tail.Unknown += len(m.row.Paths)
		}
	}
	slices.Sort(m.tail.Probes)
	slices.Sort(m.tail.Metrics)
	m.tail.Probes, m.tail.Metrics = some(m.tail.Probes), some(m.tail.Metrics)
	tail, _ := json.Marshal(m.tail)
	_, _ = w.Write(append([]byte("],"), tail[1:]...))
}

// fill makes cells of the row that was read.
func (m *matrix) fill(source core.NodeID) {
	clear(m.cells)
	m.tail.Probes, m.tail.Metrics = addNames(m.tail.Probes, m.row.Probes), addNames(m.tail.Metrics, m.row.Metrics)
	for _, p := range m.row.Paths {
		to, known := m.place[p.Destination]
		if !known {
			m.tail.Unknown++
			continue
		}
		if m.seen != nil {
			p.At = confirmed(p.At, m.seen[source], m.interval)
		}
		if old := m.cells[to]; old == nil || !old.At.After(p.At) {
			m.room[to] = newCell(p, m.head.Metric)
			m.cells[to] = &m.room[to]
		}
	}
}

// maxNames bounds what is listed of names that come from other nodes.
const maxNames = 64

func addNames(list, more []string) []string {
	for _, name := range more {
		if len(list) < maxNames && !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// staleAfter is when a result of a probe says nothing about now any more. Where
// only others run it, it is as old as what they may tell again and again.
func (s *Server) staleAfter(p core.ProbeInfo) time.Duration {
	if p.Interval > 0 {
		return staleIntervals * p.Interval
	}
	return core.ViewHold + staleIntervals*s.probe("").Interval
}

// confirmed is when a path that was measured at a time was last said to be so:
// as long as hardly anything changes, a peer that is polled answers "not
// modified" for up to core.ViewHold. After that its silence says nothing.
func confirmed(measured, seen time.Time, interval time.Duration) time.Time {
	if seen.After(measured) && seen.Sub(measured) < core.ViewHold+staleIntervals*interval {
		return seen
	}
	return measured
}

func newCell(p core.PathStatus, metric string) cell {
	out := cell{Outcome: p.Outcome.String(), Reason: p.Reason, Message: p.Message, RTT: wire.Microseconds(p.RTT), At: p.At.UTC()}
	if i := slices.IndexFunc(p.Metrics, func(m core.Metric) bool { return m.Name == metric }); i >= 0 {
		out.Value = number(p.Metrics[i].Value)
	}
	return out
}
