package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What tests of plugins and faults look at.

type pluginAnswer struct {
	Name     string            `json:"name"`
	State    string            `json:"state"`
	PID      int               `json:"pid"`
	Problem  string            `json:"problem"`
	Restarts int               `json:"restarts"`
	Jobs     map[string]uint64 `json:"jobs"`
}

func (n *proc) plugin(name string) (pluginAnswer, error) {
	var a pluginsAnswer
	if err := n.get("/api/v1/plugins", &a); err != nil {
		return pluginAnswer{}, err
	}
	for _, p := range a.Plugins {
		if p.Name == name {
			return p, nil
		}
	}
	return pluginAnswer{}, fmt.Errorf("no plugin %s in %+v", name, a.Plugins)
}

// serving tells that a plugin runs, in another process than before.
func (n *proc) serving(name string, before int) error {
	p, err := n.plugin(name)
	if err == nil && (p.State != "running" || p.Problem != "" || p.PID == 0 || p.PID == before) {
		err = fmt.Errorf("plugin %s, process %d before: %+v", name, before, p)
	}
	return err
}

// pid is the process of a plugin that runs.
func (n *proc) pid(name string) int {
	n.t.Helper()
	n.eventually(name+" serves", func() error { return n.serving(name, 0) })
	p, err := n.plugin(name)
	if err != nil {
		n.t.Fatal(err)
	}
	return p.PID
}

// health asks the HTTPS port, as a load balancer does.
func (n *proc) health() (status int, checks map[string]string) {
	n.t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	resp, err := client.Get("https://" + n.addr() + "/health")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	var h struct {
		Status string `json:"status"`
		Checks []struct {
			Name   string `json:"name"`
			Status string `json:"status"`
		} `json:"checks"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		n.t.Fatal(err)
	}
	checks = map[string]string{"": h.Status}
	for _, c := range h.Checks {
		checks[c.Name] = c.Status
	}
	return resp.StatusCode, checks
}

// childrenOf lists the processes that a process has started and that live.
func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		t.Skip("needs /proc")
	}
	for _, f := range files {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if state, parent := procStat(child); err == nil && parent == pid && state != "Z" {
			pids = append(pids, child)
		}
	}
	return pids
}

// procStat is the state and the parent of a process; empty when there is none.
func procStat(pid int) (state string, parent int) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(data), ") ")
	if err != nil || !ok {
		return "", 0
	}
	f := strings.Fields(rest)
	parent, err = strconv.Atoi(f[1])
	if err != nil {
		return "", 0
	}
	return f[0], parent
}

func runFile(path string) error { return exec.Command(path).Run() }
