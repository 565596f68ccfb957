package cmd

import (
	"encoding/json"
	"strings"
	"testing"
)

// table is what show writes of an answer of the API.
func table[T any](t *testing.T, show func(w *strings.Builder, v T), answer string) string {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	show(&b, v)
	return b.String()
}

func TestPeersShowTheRTTOfTheIdentifyingProbe(t *testing.T) {
	show := func(w *strings.Builder, p peers) { peersTable(w, p) }
	got := table(t, show, `{"nodes":[{"id":"1","name":"n1","paths":[
		{"probe":"dns","outcome":"success","rtt_us":9000},{"probe":"https","outcome":"success","rtt_us":412,"identifies":true}]},
		{"id":"2","name":"n2","paths":[{"probe":"dns","outcome":"success","rtt_us":8000},{"probe":"https","outcome":"failure","identifies":true}]}]}`)
	if !strings.Contains(got, "\t412µs\t") || strings.Contains(got, "ms\t") {
		t.Errorf("got %q, want the RTT of https only", got)
	}
}

func TestMatrixTellsNodesOfOneNameApart(t *testing.T) {
	show := func(w *strings.Builder, m matrix) { matrixTable(w, m) }
	got := table(t, show, `{"probe":"https","probes":["https"],"rows":[[null,null,null,null],[null,null,null,null],[null,null,null,null],[null,null,null,null]],"nodes":[
		{"id":"11111111-0","name":"vm","address":"192.0.2.1:8443"},{"id":"22222222-0","name":"vm","address":"192.0.2.1:8444"},
		{"id":"33333333-0","name":"vm","address":"192.0.2.2:8444"},{"id":"44444444-0","name":"other","address":"192.0.2.3:8443"}]}`)
	want := []string{"vm:8443", "vm 22222222", "vm 33333333", "other"}
	lines := strings.Split(got, "\n")
	if lines[0] != "FROM \\ TO\t"+strings.Join(want, "\t") {
		t.Errorf("columns: got %q, want %q", lines[0], want)
	}
	for i, name := range want {
		if !strings.HasPrefix(lines[i+1], name+"\t") {
			t.Errorf("row %d: got %q, want %s", i, lines[i+1], name)
		}
	}
}

func TestMatrixNamesTheMetricsThatThereAre(t *testing.T) {
	show := func(w *strings.Builder, m matrix) { matrixTable(w, m) }
	for metric, want := range map[string]bool{"rtt_us": false, "loss_ratio": false, "nosuch": true} {
		got := table(t, show, `{"probe":"stamp","probes":["stamp"],"metrics":["jitter_us","loss_ratio"],"metric":"`+metric+`"}`)
		if told := strings.Contains(got, "nosuch\" by stamp; there is rtt_us, jitter_us, loss_ratio\n"); told != want {
			t.Errorf("%s: got %q, want the names: %t", metric, got, want)
		}
	}
}
