package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// maxAdminBody is the size of a request's body on the admin socket.
const maxAdminBody = 64 << 10

// forgetNode answers DELETE /api/v1/nodes/{id}.
func (s *Server) forgetNode(w http.ResponseWriter, r *http.Request, _ caller) {
	n, ok := s.pathNode(w, r)
	if !ok {
		return
	}
	if err := s.mesh.Forget(n.ID); err != nil {
		failJSON(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// enablePlugin answers POST /api/v1/plugins/{name}/enable.
func (s *Server) enablePlugin(w http.ResponseWriter, r *http.Request, _ caller) {
	name := r.PathValue("name")
	var names []string
	for _, p := range s.plugins.Status() {
		names = append(names, p.Name)
	}
	if !slices.Contains(names, name) {
		failJSON(w, http.StatusNotFound, fmt.Sprintf("no plugin %.80q is configured; there is %s", name, listed(names)))
		return
	}
	if err := s.plugins.Enable(name); err != nil {
		failJSON(w, http.StatusConflict, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// reload answers POST /api/v1/reload.
func (s *Server) reload(w http.ResponseWriter, r *http.Request, _ caller) {
	if err := s.reloadConfig(r.Context()); err != nil {
		failJSON(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// runProbe answers POST /api/v1/probe: one run, now, which is not stored.
func (s *Server) runProbe(w http.ResponseWriter, r *http.Request, _ caller) {
	var ask struct {
		Probe string `json:"probe"`
		Host  string `json:"host"`
		Port  uint16 `json:"port"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&ask); err != nil {
		failJSON(w, http.StatusBadRequest, `body: want {"probe":"https","host":"name or address","port":443}: `+err.Error())
		return
	}
	probes := s.plugins.Probes()
	if !slices.ContainsFunc(probes, func(p core.ProbeInfo) bool { return p.Name == ask.Probe }) {
		writeJSON(w, http.StatusBadRequest, failure{Error: "probe: there is " + probeNames(probes), Parameter: "probe"})
		return
	}
	at, err := core.NewEndpoint(ask.Host, cmp.Or(ask.Port, core.DefaultPort))
	if err != nil {
		writeJSON(w, http.StatusBadRequest, failure{Error: "host: " + err.Error(), Parameter: "host"})
		return
	}
	target := s.target(at, ask.Port == 0)
	if identifies := s.probe("").Name == ask.Probe; target.Node.IsZero() || !identifies {
		target.Port = ask.Port // 0: that of the probe
	}
	result, err := s.engine.Probe(r.Context(), ask.Probe, target)
	if err != nil {
		failJSON(w, http.StatusInternalServerError, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, wire.NewResult(result))
}

func probeNames(probes []core.ProbeInfo) string {
	names := make([]string, 0, len(probes))
	for _, p := range probes {
		names = append(names, p.Name)
	}
	return listed(names)
}

// target is the known node at an endpoint, with its key, or else just the
// endpoint. The only node at its host will do where any port does.
func (s *Server) target(at core.Endpoint, anyPort bool) core.Target {
	var there []core.Target
	for _, n := range s.mesh.Nodes() {
		if slices.Contains(n.Endpoints, at) {
			return core.Target{Node: n.ID, Endpoint: at, Key: n.Key}
		}
		i := slices.IndexFunc(n.Endpoints, func(e core.Endpoint) bool { return e.Host == at.Host })
		if i >= 0 {
			there = append(there, core.Target{Node: n.ID, Endpoint: n.Endpoints[i], Key: n.Key})
		}
	}
	if anyPort && len(there) == 1 {
		return there[0]
	}
	return core.Target{Endpoint: at}
}
