package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestBadFileKeepsTheRunningConfiguration(t *testing.T) {
	n := newNode(t)
	n.write("nodeprobe.yaml", "probes: {https: {interval: 30s}}\n")
	n.start()
	n.write("nodeprobe.yaml", "probes: {https: {interval: soon}}\n")
	n.eventually("the bad file is told", func() error { return n.openEvent("config_rejected", "interval") })
	if err := n.interval(30); err != nil {
		t.Error(err)
	}
	if status, checks := n.health(); status != 200 || checks["configuration"] != "warning" {
		t.Errorf("health with a bad file: got %d %v, want 200 with a warning", status, checks)
	}
	for _, command := range []string{"status", "health"} {
		if code, out := n.run(command); code != 0 || !strings.Contains(out, "healthy") || !strings.Contains(out, "nodeprobe.yaml:1: probes.https.interval") {
			t.Errorf("%s with a bad file: got %d and %q, want the node, and what is wrong", command, code, out)
		}
	}
	n.write("nodeprobe.yaml", "probes: {https: {interval: 20s}}\n")
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.eventually("the good file is in force", func() error { return n.interval(20) })
	n.eventually("the event has ended", n.noRejection)

	n.write("nodeprobe.yaml", "probes: {https: {interval: never}}\n")
	n.eventually("the next bad file is told", func() error { return n.openEvent("config_rejected", "never") })
	n.stop()
	n.write("nodeprobe.yaml", "")
	n.start()
	n.eventually("the event has ended with the next start", n.noRejection)
}

// noRejection tells that no refused configuration is an event that lasts.
func (n *proc) noRejection() error {
	if n.openEvent("config_rejected", "") == nil {
		return fmt.Errorf("still open")
	}
	return nil
}

// TestSettingsThatWaitForARestart: as long as the files and the process differ,
// not only at the reload that changed them.
func TestSettingsThatWaitForARestart(t *testing.T) {
	n := newNode(t)
	n.write("nodeprobe.yaml", "trust: tofu\n")
	n.start()
	n.write("nodeprobe.yaml", "trust: open\nreport: {every: 1m}\n")
	reload := func() {
		t.Helper()
		if err := n.call("POST", "/api/v1/reload", "", nil); err != nil {
			t.Fatal(err)
		}
	}
	warnings := func() int { return strings.Count(n.log.String(), "needs a restart") }
	told := func(want string) func() error {
		return func() error {
			if code, out := n.run("status"); code != 0 || !strings.Contains(out, want) {
				return fmt.Errorf("exit code %d, want %q:\n%s", code, want, out)
			}
			return nil
		}
	}
	for i := range 2 {
		reload()
		n.eventually("each reload warns", func() error {
			if got, want := warnings(), 2*(i+1); got < want {
				return fmt.Errorf("reload %d: got %d warnings, want %d", i+1, got, want)
			}
			return nil
		})
	}
	n.eventually("status tells", told("wait for a restart of the node: trust, report.every"))
	if status, checks := n.health(); status != 200 || checks["configuration"] != "warning" {
		t.Errorf("health: got %d %v, want 200 with a warning", status, checks)
	}
	before := warnings()
	n.write("nodeprobe.yaml", "trust: tofu\n")
	reload()
	if got := warnings() - before; got != 0 {
		t.Errorf("as it was: got %d warnings, want none", got)
	}
	n.eventually("nothing waits", func() error {
		if _, checks := n.health(); checks["configuration"] != "ok" {
			return fmt.Errorf("%v", checks)
		}
		return nil
	})
}

// TestLogsInJSON: addresses and errors are texts in it, as people write them.
func TestLogsInJSON(t *testing.T) {
	n := newNode(t)
	n.write("nodeprobe.yaml", "log: {format: json}\n")
	n.start()
	n.write("nodeprobe.yaml", "log: {format: json}\ntrust: maybe\n")
	if err := n.call("POST", "/api/v1/reload", "", nil); err == nil {
		t.Error("the bad file was taken")
	}
	n.logs(fmt.Sprintf(`"listen":%q`, n.addr()))
	n.logs(fmt.Sprintf(`"error":"%s/nodeprobe.yaml:2: trust: \"maybe\" is not known`, n.dir))
	if strings.Contains(n.log.String(), `":[`) || strings.Contains(n.log.String(), `":{`) {
		t.Errorf("a value of the log is no text:\n%s", n.log)
	}
}

// TestSignalsDuringTheStart: a service manager may send them at any time.
func TestSignalsDuringTheStart(t *testing.T) {
	starting := func(sig syscall.Signal) *proc {
		n := newNode(t)
		n.launch()
		n.eventually("the node starts", func() error {
			if !strings.Contains(n.log.String(), "identity made") {
				return errors.New("not yet")
			}
			return n.cmd.Process.Signal(sig)
		})
		return n
	}
	hup := starting(syscall.SIGHUP)
	hup.logs("configuration reloaded")
	if code := starting(syscall.SIGTERM).stop(); code != 0 {
		t.Errorf("told to stop while it started: exit code %d, want 0", code)
	}
}

// openEvent tells that an event of the kind lasts and says text.
func (n *proc) openEvent(kind, text string) error {
	var a eventsAnswer
	if err := n.get("/api/v1/events?open=true", &a); err != nil {
		return err
	}
	for _, e := range a.Events {
		if e.Kind == kind && strings.Contains(e.Message, text) {
			return nil
		}
	}
	return fmt.Errorf("no open event %s with %q", kind, text)
}

func (n *proc) interval(seconds float64) error {
	var a struct {
		Probes []struct {
			Name     string  `json:"name"`
			Interval float64 `json:"interval_seconds"`
		} `json:"probes"`
	}
	if err := n.get("/api/v1/plugins", &a); err != nil {
		return err
	}
	i := slices.IndexFunc(a.Probes, func(p struct {
		Name     string  `json:"name"`
		Interval float64 `json:"interval_seconds"`
	},
	) bool {
		return p.Name == "https"
	})
	if i < 0 || a.Probes[i].Interval != seconds {
		return fmt.Errorf("probes: %+v, want an interval of %v s", a.Probes, seconds)
	}
	return nil
}
