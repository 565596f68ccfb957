package cmd

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/store"
)

// The formats of db export.
const (
	formatCSV   = "csv"
	formatLines = "jsonl"
)

// export writes one kind of rows to standard output.
func export(c *cobra.Command, r *store.Reader, f exportFlags, q store.ExportQuery) error {
	ctx, out := c.Context(), bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
	p := newProgress(c.ErrOrStderr(), f.kind)
	q.Progress = p.step
	lines := newLines(out, f.format, p)
	var err error
	switch f.kind {
	case kindResults:
		lines.header("at", "node", "name", "probe", "outcome", "reason", "message", "rtt_us", "metrics")
		err = r.Results(ctx, q, func(x store.ResultRow) error {
			return lines.write(x.At, x.Node.String(), x.Name, x.Probe, x.Outcome.String(), x.Reason, x.Message, rtt(x.RTT), x.Metrics)
		})
	case kindRollups:
		lines.header("hour", "node", "name", "probe", "metric", "runs", "failures", "values", "min", "mean", "max", "p50", "p90", "p99")
		err = r.Sums(ctx, q, func(x store.SumRow) error { return lines.write(sumCells(x)...) })
	case kindEvents:
		lines.header("id", "kind", "subject", "message", "began", "ended")
		err = r.Events(ctx, q, func(e core.Event) error {
			return lines.write(int64(e.ID), string(e.Kind), e.Subject, e.Message, e.Began, e.Ended)
		})
	case kindNodes:
		lines.header("node", "name", "ip", "version", "discovered_by", "state", "reason", "message", "first_seen", "last_seen", "spki_sha256")
		err = exportNodes(c, r, q, lines)
	case kindMatrix:
		lines.header("from", "source", "destination", "probe", "outcome", "reason", "rtt_us")
		err = r.Matrix(ctx, q, func(x core.PathStatus) error {
			return lines.write(x.At, x.Source.String(), x.Destination.String(), x.Probe, x.Outcome.String(), string(x.Reason), rtt(x.RTT))
		})
	}
	if err == nil {
		err = lines.flush()
	}
	p.done(err)
	return err
}

func exportNodes(c *cobra.Command, r *store.Reader, q store.ExportQuery, lines *lines) error {
	nodes, err := r.Nodes(c.Context())
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if q.Node != "" && q.Node != n.ID.String() {
			continue
		}
		ip := ""
		if n.IP().IsValid() {
			ip = n.IP().String()
		}
		err := lines.write(n.ID.String(), n.Name(), ip, n.Version, n.DiscoveredBy, string(n.State), string(n.Reason), n.Message, n.FirstSeen, n.LastSeen, n.Key.String())
		if err != nil {
			return err
		}
	}
	return nil
}

// sumCells gives RTT the unit of its name.
func sumCells(x store.SumRow) []any {
	name, scale := x.Metric, 1.0
	cells := []any{x.Hour, x.Node.String(), x.Name, x.Probe, name, nil, nil, x.Values}
	if x.Metric == "" {
		name, scale = "rtt_us", 1e6
		cells[4], cells[5], cells[6] = name, x.Runs, x.Failures
	}
	for _, v := range []float64{x.Min, x.Mean, x.Max, x.P50, x.P90, x.P99} {
		if x.Values == 0 {
			v = math.NaN()
		}
		cells = append(cells, v*scale)
	}
	return cells
}

// rtt is in microseconds, nil when it was not measured.
func rtt(d time.Duration) any {
	if d <= 0 {
		return nil
	}
	return d.Microseconds()
}

// lines writes rows as CSV or as JSON objects, one a line.
type lines struct {
	out     *bufio.Writer
	csv     *csv.Writer // nil: JSON
	columns []string
	cells   []string
	p       *progress
	err     error
}

func newLines(out *bufio.Writer, format string, p *progress) *lines {
	l := &lines{out: out, p: p}
	if format == formatCSV {
		l.csv = csv.NewWriter(out)
	}
	return l
}

func (l *lines) header(columns ...string) {
	l.columns, l.cells = columns, make([]string, len(columns))
	if l.csv != nil {
		l.err = l.csv.Write(columns)
	}
}

func (l *lines) write(cells ...any) error {
	if l.err != nil {
		return l.err
	}
	l.p.rows++
	if l.csv != nil {
		for i, c := range cells {
			l.cells[i] = cellText(c)
		}
		return l.csv.Write(l.cells)
	}
	line := []byte{'{'}
	for i, c := range cells {
		if i > 0 {
			line = append(line, ',')
		}
		value, err := json.Marshal(cellJSON(c))
		if err != nil {
			return err
		}
		line = append(append(strconv.AppendQuote(line, l.columns[i]), ':'), value...)
	}
	_, err := l.out.Write(append(line, '}', '\n'))
	return err
}

func (l *lines) flush() error {
	if l.csv != nil {
		l.csv.Flush()
		if err := l.csv.Error(); err != nil {
			return err
		}
	}
	return l.out.Flush()
}

// cellJSON is null for what there is none of.
func cellJSON(c any) any {
	switch v := c.(type) {
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return v.UTC().Format(time.RFC3339Nano)
	case float64:
		if math.IsNaN(v) {
			return nil
		}
	case []core.Metric:
		m := make(map[string]float64, len(v))
		for _, x := range v {
			m[x.Name] = x.Value
		}
		return m
	}
	return c
}

// cellText is empty for what there is none of; metrics are a JSON object.
func cellText(c any) string {
	switch v := cellJSON(c).(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case map[string]float64:
		if len(v) == 0 {
			return ""
		}
		b, _ := json.Marshal(v) // cannot fail for finite numbers
		return string(b)
	default:
		return fmt.Sprint(v)
	}
}

// progress tells on standard error how far it is: on a terminal in one line, else
// now and then.
type progress struct {
	w     io.Writer
	kind  string
	every time.Duration
	begin string
	end   string
	last  time.Time
	rows  int64
}

func newProgress(w io.Writer, kind string) *progress {
	p := &progress{w: w, kind: kind, every: 5 * time.Second, end: "\n", last: time.Now()}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.every, p.begin, p.end = 200*time.Millisecond, "\r", ""
		}
	}
	return p
}

func (p *progress) step(done, total int64) {
	if time.Since(p.last) < p.every || total == 0 {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.w, "%s%s: %d %%, %d rows%s", p.begin, p.kind, 100*done/total, p.rows, p.end)
}

func (p *progress) done(err error) {
	if err != nil {
		if p.begin != "" {
			fmt.Fprintln(p.w)
		}
		return
	}
	fmt.Fprintf(p.w, "%s%s: 100 %%, %d rows\n", p.begin, p.kind, p.rows)
}
