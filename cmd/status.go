package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/seahow-uk/nodeprobe/core/wire"
)

func newHealth(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask the running node how it is; exit code 0 when healthy",
		Args:  usage(cobra.NoArgs),
	}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		node, err := s.client()
		if err != nil {
			return err
		}
		var h wire.Health
		err = node.get(c.Context(), "/health", &h)
		if unhealthy, ok := errors.AsType[*apiError](err); ok && unhealthy.status == http.StatusServiceUnavailable {
			err = unhealthy.decode(&h)
		}
		if err != nil {
			return err
		}
		if err := render(c.OutOrStdout(), *output, h, func(w io.Writer) { healthTable(w, h) }); err != nil {
			return err
		}
		if h.Status != wire.Healthy {
			return errQuiet
		}
		return nil
	}
	return c
}

func healthTable(w io.Writer, h wire.Health) {
	row(w, "status", h.Status)
	row(w, "node", h.NodeID)
	row(w, "uptime", h.Uptime)
	row(w, "nodes", h.KnownNodes)
	for _, c := range h.Checks {
		row(w, c.Name, c.Status, c.Problem)
	}
}

// summary is what the commands use of GET /api/v1/summary.
type summary struct {
	State    string   `json:"state"`
	Problems []string `json:"problems"`
	Self     struct {
		ID      string `json:"id"`
		Name    string `json:"name"`
		FQDN    string `json:"fqdn"`
		IP      string `json:"ip"`
		Port    uint16 `json:"port"`
		Version string `json:"version"`
		Uptime  int64  `json:"uptime_seconds"`
	} `json:"self"`
	Health struct {
		Status string `json:"status"`
	} `json:"health"`
	Nodes struct {
		Total      int            `json:"total"`
		ByState    map[string]int `json:"by_state"`
		Candidates int            `json:"candidates"`
	} `json:"nodes"`
	Plugins struct {
		Total   int `json:"total"`
		Running int `json:"running"`
	} `json:"plugins"`
	Storage *struct {
		Bytes      int64   `json:"bytes"`
		MaxBytes   int64   `json:"max_bytes"`
		RawPerDay  int64   `json:"raw_bytes_per_day"`
		RawFits    float64 `json:"raw_fits_seconds"`
		RollupFits float64 `json:"rollup_fits_seconds"`
	} `json:"storage"`
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func newStatus(s *settings) *cobra.Command {
	return newList(s, "status", "Show the running node, its mesh and what is wrong", "/api/v1/summary", summaryTable)
}

func summaryTable(w io.Writer, s summary) {
	row(w, "node", s.Self.Name, s.Self.ID)
	row(w, "address", net.JoinHostPort(cmp.Or(s.Self.IP, s.Self.FQDN), strconv.Itoa(int(s.Self.Port))))
	row(w, "version", s.Self.Version)
	row(w, "uptime", time.Duration(s.Self.Uptime)*time.Second)
	row(w, "health", s.Health.Status)
	row(w, "state", s.State)
	row(w, "nodes", s.Nodes.Total)
	for _, state := range slices.Sorted(maps.Keys(s.Nodes.ByState)) {
		row(w, "  "+state, s.Nodes.ByState[state])
	}
	row(w, "candidates", s.Nodes.Candidates)
	row(w, "plugins", fmt.Sprintf("%d of %d running", s.Plugins.Running, s.Plugins.Total))
	if st := s.Storage; st != nil {
		row(w, "storage", megabytes(st.Bytes)+" of "+megabytes(st.MaxBytes))
		if st.RawPerDay > 0 {
			row(w, "  fits", fits(st.RawPerDay, st.MaxBytes, seconds(st.RawFits), seconds(st.RollupFits)))
		}
	}
	for _, p := range s.Problems {
		row(w, "problem", p)
	}
}
