package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// newList is a command that gets one list of the running node and shows it; as
// JSON it is the node's whole answer.
func newList[T any](s *settings, use, short, path string, table func(w io.Writer, v T)) *cobra.Command {
	return newQuery(s, use, short, func() string { return path }, table)
}

// newQuery is newList of a path that depends on flags.
func newQuery[T any](s *settings, use, short string, path func() string, table func(w io.Writer, v T)) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: usage(cobra.NoArgs)}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		node, err := s.client()
		if err != nil {
			return err
		}
		var answer json.RawMessage
		if err := node.get(c.Context(), path(), &answer); err != nil {
			return err
		}
		var v T
		if err := json.Unmarshal(answer, &v); err != nil {
			return err
		}
		return render(c.OutOrStdout(), *output, answer, func(w io.Writer) { table(w, v) })
	}
	return c
}

// peers is what the commands use of GET /api/v1/nodes.
type peers struct {
	Nodes []struct {
		ID        string     `json:"id"`
		Name      string     `json:"name"`
		Endpoints []string   `json:"endpoints"`
		State     string     `json:"state"`
		Reason    string     `json:"reason"`
		LastSeen  time.Time  `json:"last_seen"`
		Paths     []peerPath `json:"paths"`
	} `json:"nodes"`
}

type peerPath struct {
	wire.Path
	Identifies bool `json:"identifies"`
}

func newPeers(s *settings) *cobra.Command {
	c := newList(s, "peers", "List the nodes that the running node knows", "/api/v1/nodes", peersTable)
	c.AddCommand(&cobra.Command{
		Use:   "forget ID",
		Short: "Drop a node and the key pinned for it",
		Args:  usage(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := core.ParseNodeID(args[0])
			if err != nil {
				return usageError{fmt.Errorf("%q is no node's id: %w; 'nodeprobe peers' shows them", args[0], err)}
			}
			node, err := s.client()
			if err != nil {
				return err
			}
			return node.call(c.Context(), "DELETE", "/api/v1/nodes/"+id.String(), nil, nil)
		},
	})
	return c
}

func peersTable(w io.Writer, p peers) {
	row(w, "NAME", "ADDRESS", "STATE", "LAST SEEN", "RTT", "REASON", "ID")
	for _, n := range p.Nodes {
		at, rtt := "", ""
		if len(n.Endpoints) > 0 {
			at = n.Endpoints[0]
		}
		for _, path := range n.Paths {
			if path.Identifies && path.RTT > 0 {
				rtt = micros(path.RTT)
			}
		}
		row(w, n.Name, at, n.State, ago(n.LastSeen), rtt, n.Reason, n.ID)
	}
}

// matrix is what the commands use of GET /api/v1/matrix.
type matrix struct {
	Probe      string   `json:"probe"`
	Probes     []string `json:"probes"`
	Metric     string   `json:"metric"`
	Metrics    []string `json:"metrics"`
	StaleAfter float64  `json:"stale_after_seconds"`
	Nodes      []named  `json:"nodes"`
	Rows       [][]*struct {
		Outcome string    `json:"outcome"`
		Reason  string    `json:"reason"`
		RTT     int64     `json:"rtt_us"`
		Value   *float64  `json:"value"`
		At      time.Time `json:"at"`
	} `json:"rows"`
}

type named struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"`
}

// labels are the names, with the port where nodes have the same one, as those of
// one host do, and else with the first digits of the id.
func labels(nodes []named) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.Name
	}
	tellApart(out, func(i int) string {
		_, port, _ := net.SplitHostPort(nodes[i].Address) // without one the id tells
		return nodes[i].Name + ":" + port
	})
	tellApart(out, func(i int) string { return nodes[i].Name + " " + nodes[i].ID[:min(8, len(nodes[i].ID))] })
	return out
}

// tellApart replaces the labels that are there more than once.
func tellApart(labels []string, by func(i int) string) {
	seen := map[string]int{}
	for _, l := range labels {
		seen[l]++
	}
	for i, l := range labels {
		if seen[l] > 1 {
			labels[i] = by(i)
		}
	}
}

func newMatrix(s *settings) *cobra.Command {
	var probe, metric string
	path := func() string {
		q := url.Values{}
		for name, v := range map[string]string{"probe": probe, "metric": metric} {
			if v != "" {
				q.Set(name, v)
			}
		}
		return "/api/v1/matrix?" + q.Encode()
	}
	c := newQuery(s, "matrix", "Show who sees whom: a row per source, a column per destination", path, matrixTable)
	c.Flags().StringVar(&probe, "probe", "", "which probe's paths (default the one that decides who is alive)")
	c.Flags().StringVar(&metric, "metric", "", "which figure, such as pmtu_forward_bytes (default RTT)")
	return c
}

func matrixTable(w io.Writer, m matrix) {
	header := []any{"FROM \\ TO"}
	names := labels(m.Nodes)
	for _, name := range names {
		header = append(header, name)
	}
	row(w, header...)
	stale := time.Duration(m.StaleAfter * float64(time.Second))
	for i, cells := range m.Rows {
		line := []any{names[i]}
		for j, c := range cells {
			switch {
			case i == j:
				line = append(line, ".")
			case c == nil:
				line = append(line, "?")
			case stale > 0 && time.Since(c.At) > stale:
				line = append(line, "stale")
			case c.Outcome != "success":
				line = append(line, c.Reason)
			case c.Value != nil:
				line = append(line, figure(m.Metric, *c.Value))
			case c.RTT == 0 || m.Metric != "rtt_us":
				line = append(line, "ok")
			default:
				line = append(line, micros(c.RTT))
			}
		}
		row(w, line...)
	}
	switch {
	case !slices.Contains(m.Probes, m.Probe):
		fmt.Fprintf(w, "no probe %q has measured anything; there is %s\n", m.Probe, strings.Join(m.Probes, ", "))
	case m.Metric != "rtt_us" && !slices.Contains(m.Metrics, m.Metric):
		fmt.Fprintf(w, "nobody has measured %q by %s; there is %s\n", m.Metric, m.Probe, strings.Join(append([]string{"rtt_us"}, m.Metrics...), ", "))
	}
}

// events is what the commands use of GET /api/v1/events.
type events struct {
	Events []wire.Event `json:"events"`
}

func newEvents(s *settings) *cobra.Command {
	return newList(s, "events", "List what happened, the newest first", "/api/v1/events", eventsTable)
}

func eventsTable(w io.Writer, e events) {
	row(w, "BEGAN", "LASTED", "KIND", "SUBJECT", "MESSAGE")
	for _, v := range e.Events {
		lasted := ""
		switch {
		case v.Ended == nil:
			lasted = "still open"
		case v.Ended.After(v.Began):
			lasted = v.Ended.Sub(v.Began).Round(time.Second).String()
		}
		row(w, v.Began.Local().Format(time.DateTime), lasted, v.Kind, v.Subject, v.Message)
	}
}

// pluginList is what the commands use of GET /api/v1/plugins.
type pluginList struct {
	Plugins []struct {
		Name      string   `json:"name"`
		Version   string   `json:"version"`
		State     string   `json:"state"`
		PID       int      `json:"pid"`
		Problem   string   `json:"problem"`
		Probes    []string `json:"probes"`
		Reporters []string `json:"reporters"`
		Restarts  int      `json:"restarts"`
	} `json:"plugins"`
}

func pluginTable(w io.Writer, l pluginList) {
	row(w, "NAME", "VERSION", "STATE", "PID", "RESTARTS", "PROBES", "REPORTERS", "PROBLEM")
	for _, p := range l.Plugins {
		row(w, p.Name, p.Version, p.State, p.PID, p.Restarts, strings.Join(p.Probes, " "), strings.Join(p.Reporters, " "), p.Problem)
	}
}
