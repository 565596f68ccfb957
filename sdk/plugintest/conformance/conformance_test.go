package conformance_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk/plugintest/conformance"
)

// badPlugin is a subject with one fault; the empty one has none.
func badPlugin(bin, fault string) *conformance.Subject {
	return &conformance.Subject{Path: bin, Args: []string{fault}}
}

func build(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the plugin is for unix")
	}
	bin := filepath.Join(t.TempDir(), "badplugin")
	if out, err := exec.Command("go", "build", "-o", bin, "./internal/badplugin").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// check is the one of that name; a name that is not there is a mistake of the test.
func check(name string) conformance.Check {
	all := conformance.Checks()
	return all[slices.IndexFunc(all, func(c conformance.Check) bool { return c.Name == name })]
}

// outcomes runs checks side by side: they mostly wait, so more of them than
// there are processors.
func outcomes(t *testing.T, n int, run func(i int) error) []error {
	t.Helper()
	errs, places := make([]error, n), make(chan struct{}, 16)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			errs[i] = run(i)
		})
	}
	all.Wait()
	return errs
}

func TestFaultlessPluginPasses(t *testing.T) {
	bin, checks := build(t), conformance.Checks()
	for i, err := range outcomes(t, len(checks), func(i int) error { return checks[i].Run(t.Context(), badPlugin(bin, "")) }) {
		if err != nil {
			t.Errorf("%s: %v", checks[i].Name, err)
		}
	}
}

// Every check finds what it is there for, and says it.
func TestFaultsAreFound(t *testing.T) {
	bin := build(t)
	faults := []struct{ check, fault, want string }{
		{"handshake", "hangs at start", "does not start"},
		{"handshake", "prints before the handshake", "welcome"},
		{"handshake", "dies at start", "no licence"},
		{"no-host", "is silent without a host", "says nothing on stderr"},
		{"no-host", "prints without a host", `writes to stdout: "usage`},
		{"no-host", "goes on without a host", "does not exit within 5s"},
		{"no-host", "exits with 0 without a host", "exits with 0"},
		{"describe", "tells another thing the second time", "differs from the first"},
		{"describe", "is slow to describe itself", "the second Describe"},
		{"describe", "has a bad name", `"Bad Plugin"`},
		{"describe", "has a bad version", `"one"`},
		{"describe", "offers nothing", "neither probe nor reporter"},
		{"describe", "offers a kind twice", `kind "probe" is offered twice`},
		{"describe", "wants what there is not", `wants "logs"`},
		{"describe", "takes longer than its interval", "timeout 1h0m0s in an interval of 30s"},
		{"describe", "runs on its own occasions", `"lunch", which is no occasion`},
		{"schema", "has no schema", "the schema of probe"},
		{"schema", "has the schema of a list", `type "array"`},
		{"config-accepted", "refuses every configuration", "refuses {}: no"},
		{"config-accepted", "runs a service that it was not granted", `without the grant of "service.echo"`},
		{"config-accepted", "runs a service nowhere", `the service "echo" at port 0`},
		{"config-refused", "takes every configuration", "is accepted"},
		{"config-refused", "does not say which field is bad", `does not name the field "port"`},
		{"config-refused", "refuses without a word", "has no message"},
		{"config-refused", "refuses by an error of the call", "want one in the response"},
		{"config-kept", "drops the instance with a refusal", "does not serve any more"},
		{"unknown", "dies of an unknown instance", "unknown instance"},
		{"unknown", "takes batches for anybody", "unknown reporter"},
		{"results", "loses a result", "job 7: no answer"},
		{"results", "answers twice", "which was not sent or has its answer"},
		{"results", "answers for others", "which was not sent or has its answer"},
		{"results", "gives no outcome", "has no outcome"},
		{"results", "invents reasons", `"bad_luck"`},
		{"results", "chatters", "a message of 1000 bytes"},
		{"results", "gives a success a reason", "a success with the reason"},
		{"results", "breaks in every run", "an error of the plugin"},
		{"results", "names metrics badly", `"Loss Ratio"`},
		{"results", "finds without a word", `"Black Hole"`},
		{"results", "finds too much", "9 findings"},
		{"results", "has a list for a document", `the document "hops"`},
		{"results", "takes negative time", "took -1s"},
		{"deadline", "ignores deadlines", "no answer though its timeout is 1s"},
		{"deadline", "is late and says so", "an error of the plugin"},
		{"cancel", "ignores cancels", "after it was canceled"},
		{"heartbeat", "has no pulse while it is busy", "heartbeat"},
		{"heartbeat", "echoes another number", "heartbeat"},
		{"reload", "loses jobs in a reload", "no answer"},
		{"remove", "goes on with a removed instance", "which was removed"},
		{"hang-up", "drops what it has when the host hangs up", "without an answer"},
		{"host-gone", "keeps the places of a broken stream", "deadline exceeded"},
		{"oversize", "takes messages of any size", "want ResourceExhausted"},
		{"deliver", "acknowledges more than it got", "though the batch ends with"},
		{"deliver", "acknowledges less without a word", "without a problem"},
		{"deliver", "breaks on a batch", "deliver 3 records"},
		{"deliver", "dies of an empty batch", "deliver 0 records"},
		{"lifeline", "outlives its host", "goes on 2s after"},
		{"sigterm", "ignores SIGTERM", "goes on 5s after"},
	}
	found := map[string]bool{}
	for i, err := range outcomes(t, len(faults), func(i int) error {
		return check(faults[i].check).Run(t.Context(), badPlugin(bin, faults[i].fault))
	}) {
		tt := faults[i]
		found[tt.check] = true
		if err == nil || errors.Is(err, conformance.ErrNotApplicable) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("a plugin that %s: %s says %v, want %q", tt.fault, tt.check, err, tt.want)
		}
	}
	for _, c := range conformance.Checks() {
		if !found[c.Name] {
			t.Errorf("no fault here is for %s", c.Name)
		}
	}
}
