package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// maxMS is a time far beyond any clock; hours since 1970 must fit chunk ids.
const maxMS = 1 << 46

// insertRows go into one statement: its text stays below some 64 KiB.
const insertRows = 512

// SaveResults stores rs and what they say about the mesh: all of it or nothing.
// Calls that wait for the same turn share a transaction. Saving a result again,
// after an error, does not double it. A result that is about no node leaves no row.
func (s *Store) SaveResults(ctx context.Context, rs []core.Result) error {
	if len(rs) == 0 {
		return nil
	}
	return s.submit(ctx, &request{results: rs})
}

// resultRows is what a group of results becomes.
type resultRows struct {
	series []seriesRow
	codes  map[int64]codeRow // new, or used in a newer hour, by id
	tail   []tailRow
	latest []latestRow
	byRun  map[int64]int // index into latest by series
	marks  []oldMark
	views  map[core.NodeID]view
	metric []core.Metric // scratch
}

type oldMark struct {
	p   *path
	was mark
}

func (c *commit) saveResults(ctx context.Context, rs []core.Result) error {
	if len(rs) == 0 {
		return nil
	}
	rows := &resultRows{
		tail: make([]tailRow, 0, 2*len(rs)), codes: map[int64]codeRow{}, byRun: map[int64]int{}, views: map[core.NodeID]view{},
	}
	c.onFailure(func() {
		for _, m := range slices.Backward(rows.marks) {
			m.p.mark = m.was
		}
	})
	for i := range rs {
		c.addResult(rows, &rs[i])
		c.addView(rows, &rs[i])
	}
	if err := c.insertResults(ctx, rows); err != nil {
		return err
	}
	return c.saveViews(ctx, rows.views)
}

// about is the node that r counts for: the target or, when that was not a known
// node, the one that proved to be there.
func about(r *core.Result) core.NodeID {
	if !r.Job.Target.Node.IsZero() || r.Learned == nil || r.Learned.Identity == nil || !r.Learned.Identity.Proven {
		return r.Job.Target.Node
	}
	return r.Learned.Identity.ID
}

func (c *commit) addResult(rows *resultRows, r *core.Result) {
	node := about(r)
	if node.IsZero() || r.Job.Probe == "" {
		return
	}
	p := c.path(rows, pathKey{node, r.Job.Probe})
	if p == nil {
		return
	}
	rows.marks = append(rows.marks, oldMark{p, p.mark})
	var ms int64
	ms, p.mark = p.mark.place(min(max(r.At().UnixMilli(), 0), maxMS), r.Job.ID)

	outcome := r.Outcome
	if outcome < core.OutcomeSuccess || outcome > core.OutcomePluginError {
		outcome = core.OutcomePluginError
	}
	reason, message := clean(string(r.Reason), maxNameBytes), clean(r.Message, maxMessage)
	rtt := rttUS(r.RTT)
	rows.tail = append(rows.tail, tailRow{
		TsMS: ms, SeriesID: p.run.id, ScaledValue: rtt, Status: c.code(codeKey{outcome, reason, message}, ms/hourMS, rows),
	})
	rows.metric = rows.metric[:0]
	for _, m := range r.Metrics {
		c.addMetric(rows, p, m, ms, outcome)
	}
	rows.setLatest(latestRow{
		SeriesID: p.run.id, TsMS: ms, RTTUS: rtt, Outcome: int(outcome), Reason: reason, Message: message,
		Metrics: encodeMetrics(rows.metric),
	})
}

// setLatest keeps the newest run of each series: one statement must not meet a
// row twice.
func (rows *resultRows) setLatest(l latestRow) {
	i, ok := rows.byRun[l.SeriesID]
	switch {
	case !ok:
		rows.byRun[l.SeriesID] = len(rows.latest)
		rows.latest = append(rows.latest, l)
	case l.TsMS >= rows.latest[i].TsMS:
		rows.latest[i] = l
	}
}

func (c *commit) addMetric(rows *resultRows, p *path, m core.Metric, ms int64, o core.Outcome) {
	if math.IsNaN(m.Value) || math.IsInf(m.Value, 0) || m.Name == "" || len(m.Name) > maxNameBytes {
		return
	}
	of, ok := p.metrics[m.Name]
	if !ok {
		m.Name = clean(m.Name, maxNameBytes)
		of, ok = p.metrics[m.Name]
	}
	if !ok {
		if len(p.metrics) >= maxPathMetrics {
			c.onSuccess(func() { c.w.s.count(func(st *Stats) { st.MetricsRefused++ }) })
			return
		}
		if of, ok = c.newSeries(rows, p, m.Name); !ok {
			return
		}
	}
	rows.metric = append(rows.metric, m)
	if v := scaled(m.Value, of.scale); v != nil {
		rows.tail = append(rows.tail, tailRow{TsMS: ms, SeriesID: of.id, ScaledValue: v, Status: int64(o)})
	}
}

func (c *commit) insertResults(ctx context.Context, rows *resultRows) error {
	if len(rows.series) > 0 {
		if _, err := c.tx.NewInsert().Model(&rows.series).Returning("").Exec(ctx); err != nil {
			return fmt.Errorf("insert series: %w", err)
		}
	}
	if err := c.saveCodes(ctx, rows.codes); err != nil {
		return err
	}
	inserted, err := c.w.s.db.insertTail(ctx, c.tx, rows.tail)
	if err != nil {
		return fmt.Errorf("insert results: %w", err)
	}
	c.onSuccess(func() {
		c.w.tailRows += inserted
		c.w.edges.add(rows.tail)
		c.w.s.tails.add(rows.latest, rows.tail)
	})
	if err := c.w.s.db.upsertLatest(ctx, c.tx, rows.latest, c.tooLate()); err != nil {
		return fmt.Errorf("upsert latest: %w", err)
	}
	return nil
}

// maxMessage is what core allows.
const maxMessage = 256

// clean makes text from outside fit for SQL text (no NUL) and for people.
func clean(s string, maxBytes int) string {
	if s == "" {
		return ""
	}
	return core.CleanText(s, maxBytes)
}

// rttUS is nil when nothing was measured; less than a microsecond is one.
func rttUS(d time.Duration) *int64 {
	if d <= 0 {
		return nil
	}
	us := max(d.Round(time.Microsecond).Microseconds(), 1)
	return &us
}

// encodeMetrics makes a JSON object of finite values, "" of none.
func encodeMetrics(ms []core.Metric) string {
	if len(ms) == 0 {
		return ""
	}
	b := make([]byte, 0, 32*len(ms))
	for i, m := range ms {
		b = append(b, "{,"[min(i, 1)])
		name, _ := json.Marshal(m.Name) // cannot fail for a string
		b = append(append(b, name...), ':')
		b = strconv.AppendFloat(b, m.Value, 'g', -1, 64)
	}
	return string(append(b, '}'))
}

// decodeMetrics reads what encodeMetrics made, sorted by name; what does not
// parse is nothing. A mesh asks for thousands at once: names without escapes are
// read here, which takes a third of the time.
func decodeMetrics(s string) []core.Metric {
	if s == "" {
		return nil
	}
	ms, ok := scanMetrics(s)
	if !ok {
		var byName map[string]float64
		if err := json.Unmarshal([]byte(s), &byName); err != nil {
			return nil
		}
		for name, v := range byName {
			ms = append(ms, core.Metric{Name: name, Value: v})
		}
	}
	slices.SortFunc(ms, func(a, b core.Metric) int { return strings.Compare(a.Name, b.Name) })
	return ms
}

// scanMetrics is not ok with anything but {"name":number,...} without escapes.
func scanMetrics(s string) (ms []core.Metric, ok bool) {
	ms = make([]core.Metric, 0, strings.Count(s, ",")+1)
	for before := byte('{'); ; before = ',' {
		if len(s) < 2 || s[0] != before || s[1] != '"' {
			return nil, false
		}
		name, rest, _ := strings.Cut(s[2:], `"`)
		end := strings.IndexAny(rest, ",}")
		if strings.Contains(name, `\`) || end < 2 || rest[0] != ':' {
			return nil, false
		}
		v, err := strconv.ParseFloat(rest[1:end], 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, false
		}
		ms = append(ms, core.Metric{Name: name, Value: v})
		if s = rest[end:]; s == "}" {
			return ms, true
		}
	}
}
