package cmd

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/store"
)

func newDB(s *settings) *cobra.Command {
	return group("db", "Look into the database, of a node that runs or not", newDBStats(s), newDBExport(s))
}

// reader opens the database of the data directory.
func (s *settings) reader(c *cobra.Command) (*store.Reader, error) {
	cfg, err := s.load()
	if err != nil {
		return nil, err
	}
	r, err := store.OpenReader(c.Context(), storeOptions(cfg))
	if errors.Is(err, store.ErrNoDatabase) && cfg.Storage.DSN == "" {
		return nil, fmt.Errorf("there is no database in %s: name the data directory of a node with --data-dir", filepath.Clean(cfg.DataDir))
	}
	return r, err
}

// dbStats is what db stats tells. Times are null when there is nothing.
type dbStats struct {
	Path        string     `json:"path"`
	Bytes       int64      `json:"bytes"`
	WALBytes    int64      `json:"wal_bytes"`
	MaxBytes    int64      `json:"max_bytes"`
	Rows        int64      `json:"raw_rows"`
	RawSince    *time.Time `json:"raw_since"`
	RollupSince *time.Time `json:"rollup_since"`
	MatrixSince *time.Time `json:"matrix_since"`
	Nodes       int64      `json:"nodes"`
	Paths       int64      `json:"paths"`
	Events      int64      `json:"events"`
	Space       dbSpace    `json:"space_bytes"`
	RawPerDay   int64      `json:"raw_bytes_per_day"`
	PerDay      int64      `json:"rollup_bytes_per_day"`
	RawFits     float64    `json:"raw_fits_seconds"`
	RollupFits  float64    `json:"rollup_fits_seconds"`
}

type dbSpace struct {
	Raw    int64 `json:"raw"`
	Tail   int64 `json:"tail"`
	Rollup int64 `json:"rollup"`
	Matrix int64 `json:"matrix"`
	Events int64 `json:"events"`
	Other  int64 `json:"other"`
	Free   int64 `json:"free"`
}

func newDBStats(s *settings) *cobra.Command {
	c := &cobra.Command{Use: "stats", Short: "Show what takes the room, how old it is and what fits", Args: usage(cobra.NoArgs)}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		r, err := s.reader(c)
		if err != nil {
			return err
		}
		defer r.Close()
		st, err := r.Stats(c.Context())
		if err != nil {
			return r.Explain(err)
		}
		counts, err := r.Counts(c.Context())
		if err != nil {
			return r.Explain(err)
		}
		d := newDBStatsOf(r.Path(), st, counts)
		return render(c.OutOrStdout(), *output, d, func(w io.Writer) { dbTable(w, d, st.Forecast) })
	}
	return c
}

func newDBStatsOf(path string, st store.Stats, n store.Counts) dbStats {
	return dbStats{
		Path: path, Bytes: st.Bytes, WALBytes: st.WALBytes, MaxBytes: st.MaxBytes, Rows: st.Rows,
		RawSince: since(st.Oldest), RollupSince: since(st.OldestRollup), MatrixSince: since(st.OldestMatrix),
		Nodes: n.Nodes, Paths: n.Paths, Events: n.Events, RawPerDay: st.Forecast.RawPerDay, PerDay: st.Forecast.RollupPerDay,
		RawFits: st.Forecast.Raw.Truncate(time.Second).Seconds(), RollupFits: st.Forecast.Rollup.Truncate(time.Second).Seconds(),
		Space: dbSpace{
			Raw: st.Space.Raw, Tail: st.Space.Tail, Rollup: st.Space.Rollup, Matrix: st.Space.Matrix,
			Events: st.Space.Events, Other: st.Space.Other, Free: st.Space.Free,
		},
	}
}

// since is null for never.
func since(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func dbTable(w io.Writer, d dbStats, f store.Forecast) {
	row(w, "database", d.Path)
	row(w, "size", fmt.Sprintf("%d bytes and %d of the write-ahead log; at most %s", d.Bytes, d.WALBytes, megabytes(d.MaxBytes)))
	row(w, "nodes, paths, events", fmt.Sprintf("%d, %d, %d", d.Nodes, d.Paths, d.Events))
	row(w, "single results", fmt.Sprintf("%d rows: %d bytes packed, %d bytes not yet", d.Rows, d.Space.Raw, d.Space.Tail), sinceText(d.RawSince, "the hour"))
	row(w, "hourly sums", fmt.Sprintf("%d bytes", d.Space.Rollup), sinceText(d.RollupSince, "the day"))
	row(w, "matrix", fmt.Sprintf("%d bytes", d.Space.Matrix), sinceText(d.MatrixSince, "ten minutes"))
	row(w, "events", fmt.Sprintf("%d bytes", d.Space.Events))
	row(w, "all else, free", fmt.Sprintf("%d, %d bytes", d.Space.Other, d.Space.Free))
	if f.RawPerDay == 0 {
		row(w, "fits", "not known before three hours of results")
		return
	}
	row(w, "fits", fits(f.RawPerDay, d.MaxBytes, f.Raw, f.Rollup))
}

// sinceText tells how exact a time is that is known by what it is kept in: of
// results that are not packed yet it is known as it is.
func sinceText(t *time.Time, exact string) string {
	if t == nil {
		return "none"
	}
	text := "since " + t.Local().Format(time.DateTime)
	if t.Equal(t.Truncate(10 * time.Minute)) {
		text += " (to " + exact + ")"
	}
	return text
}

// exportFlags are the words of db export.
type exportFlags struct {
	kind, format, node, probe, since, until string
}

const (
	kindResults = "results"
	kindRollups = "rollups"
	kindEvents  = "events"
	kindNodes   = "nodes"
	kindMatrix  = "matrix"
)

var exportKinds = []string{kindResults, kindRollups, kindEvents, kindNodes, kindMatrix}

func newDBExport(s *settings) *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export",
		Short: "Write results, hourly sums, events, nodes or the matrix as CSV or JSON lines",
		Long: "Write what the database holds to standard output, one line each, in UTC; how far it is goes to\n" +
			"standard error. A node that runs on the database is not disturbed.",
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			q, err := f.query(time.Now())
			if err != nil {
				return usageError{err}
			}
			r, err := s.reader(c)
			if err != nil {
				return err
			}
			defer r.Close()
			return r.Explain(export(c, r, f, q))
		},
	}
	c.Flags().StringVar(&f.kind, "kind", kindResults, strings.Join(exportKinds, ", "))
	c.Flags().StringVarP(&f.format, "output", "o", formatCSV, formatCSV+" or "+formatLines)
	c.Flags().StringVar(&f.node, "node", "", "only this node's id: one end of the path, or the subject of an event")
	c.Flags().StringVar(&f.probe, "probe", "", "only this probe")
	c.Flags().StringVar(&f.since, "since", "", "from this time on: 2026-01-31T12:00:00Z, or 24h or 7d ago")
	c.Flags().StringVar(&f.until, "until", "", "before this time, in the same words")
	return c
}

// query checks the words before anything is opened.
func (f exportFlags) query(now time.Time) (store.ExportQuery, error) {
	q := store.ExportQuery{Node: strings.ToLower(f.node), Probe: f.probe}
	if !slices.Contains(exportKinds, f.kind) {
		return q, fmt.Errorf("--kind %q: want one of %s", f.kind, strings.Join(exportKinds, ", "))
	}
	if f.format != formatCSV && f.format != formatLines {
		return q, fmt.Errorf("--output %q: want %s or %s", f.format, formatCSV, formatLines)
	}
	if f.probe != "" && (f.kind == kindEvents || f.kind == kindNodes) {
		return q, fmt.Errorf("--probe: %s are of no probe", f.kind)
	}
	if f.kind == kindNodes && f.since+f.until != "" {
		return q, errors.New("--since, --until: nodes are as they are known now")
	}
	if f.node != "" {
		if _, err := core.ParseNodeID(q.Node); err != nil && f.kind != kindEvents {
			return q, fmt.Errorf("--node: %w", err)
		} else if err != nil {
			q.Node = f.node
		}
	}
	var err error
	if q.From, err = moment("since", f.since, now); err != nil {
		return q, err
	}
	if q.To, err = moment("until", f.until, now); err != nil {
		return q, err
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return q, errors.New("--since must be before --until")
	}
	return q, nil
}

// moment reads a time, or how long ago it was; empty is zero.
func moment(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("--%s %q: want a time such as 2026-01-31T12:00:00Z, or how long ago: 90m, 24h, 7d", flag, s)
}
