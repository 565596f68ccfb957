package e2e

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"testing"
)

// The database of a node that runs, and of one that does not, can be looked into.
func TestDatabaseCommands(t *testing.T) {
	first := newNode(t)
	first.expect(1, "there is no database in "+first.dir, "db", "stats")
	first.expect(0, "storage, estimated for 100 peers and 4 probes: ", "config", "check")
	first.start()
	second := newNode(t, first).start()
	second.eventually("a result is stored", func() error {
		if rows := second.export("--probe", "https"); len(rows) < 2 {
			return fmt.Errorf("got %v", rows)
		}
		return nil
	})
	second.expect(0, "storage", "status")
	second.expect(0, "estimated for 1 peer and 4 probes", "config", "check")
	row := second.export("--node", first.id(), "--probe", "https")[1]
	if row[1] != first.id() || row[3] != "https" || row[4] != "success" {
		t.Errorf("got %v", row)
	}
	if rows := second.export("--until", "2020-01-01T00:00:00Z"); len(rows) != 1 {
		t.Errorf("before anything: got %v", rows)
	}
	second.expect(2, "want one of results", "db", "export", "--kind", "secrets")
	second.expect(2, "want csv or jsonl", "db", "export", "-o", "xml")
	if code := second.stop(); code != 0 {
		t.Fatalf("stop: exit code %d", code)
	}
	if rows := second.export(); len(rows) < 2 {
		t.Errorf("stopped: got %v", rows)
	}
	out, err := second.command("db", "stats", "-o", "json").Output()
	var stats struct {
		Nodes int64 `json:"nodes"`
		Rows  int64 `json:"raw_rows"`
	}
	if err != nil || json.Unmarshal(out, &stats) != nil || stats.Nodes != 1 || stats.Rows < 1 {
		t.Errorf("got %s, %v", out, err)
	}
}

// export is what db export writes as CSV, its header first.
func (n *proc) export(args ...string) [][]string {
	n.t.Helper()
	cmd := n.command(append([]string{"db", "export"}, args...)...)
	var told bytes.Buffer
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("%v: %s", err, told.String())
	}
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || !bytes.Contains(told.Bytes(), []byte("100 %")) {
		n.t.Fatalf("%v; told %q", err, told.String())
	}
	return rows
}
