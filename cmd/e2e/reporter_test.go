package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// record is a line of what the example reporter writes.
type record struct {
	Seq     uint64          `json:"seq"`
	Kind    string          `json:"kind"`
	Payload json.RawMessage `json:"payload"`
}

// archive is such a file, read: each result and event once, in the order of the
// first time that it came.
type archive struct {
	records   []record
	snapshots []json.RawMessage
	again     int // records that came again, after a crash
}

// readArchive fails the test when a record is out of order, or is another one
// the second time. The last line may be torn by a kill; what it held comes again.
func readArchive(t *testing.T, path string) archive {
	t.Helper()
	f, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var a archive
	seen := map[uint64]json.RawMessage{}
	last := uint64(0)
	lines := bufio.NewScanner(bytes.NewReader(f))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue
		}
		if r.Kind == "snapshot" {
			a.snapshots = append(a.snapshots, r.Payload)
			continue
		}
		if before, ok := seen[r.Seq]; ok {
			if !bytes.Equal(before, r.Payload) {
				t.Errorf("record %d came twice: %s and %s", r.Seq, before, r.Payload)
			}
			a.again++
			continue
		}
		if r.Seq <= last {
			t.Errorf("record %d came after %d", r.Seq, last)
		}
		last = r.Seq
		seen[r.Seq] = r.Payload
		a.records = append(a.records, r)
	}
	return a
}

// runs counts the results of a probe that say something about what is at a port.
func (a archive) runs(t *testing.T, probe string, port int) (n int) {
	t.Helper()
	for _, r := range a.records {
		var result struct {
			Probe   string `json:"probe"`
			Port    int    `json:"port"`
			Outcome string `json:"outcome"`
		}
		if r.Kind != "result" {
			continue
		}
		if err := json.Unmarshal(r.Payload, &result); err != nil {
			t.Fatalf("%s: %v", r.Payload, err)
		}
		if result.Probe == probe && result.Port == port && (result.Outcome == "success" || result.Outcome == "failure") {
			n++
		}
	}
	return n
}

// shows tells that a snapshot of the node has the peer, active, and a good path to it.
func (a archive) shows(node, peer string) error {
	type shot struct {
		NodeID string `json:"node_id"`
		Nodes  []struct {
			ID     string `json:"id"`
			Active bool   `json:"is_active"`
		} `json:"nodes"`
		Paths []struct {
			Destination string `json:"destination"`
			Probe       string `json:"probe"`
			Outcome     string `json:"outcome"`
		} `json:"paths"`
	}
	for _, payload := range a.snapshots {
		var s shot
		if err := json.Unmarshal(payload, &s); err != nil {
			return fmt.Errorf("%s: %w", payload, err)
		}
		if s.NodeID != node || len(s.Nodes) != 1 || s.Nodes[0].ID != peer || !s.Nodes[0].Active {
			continue
		}
		for _, p := range s.Paths {
			if p.Destination == peer && p.Probe == "https" && p.Outcome == "success" {
				return nil
			}
		}
	}
	return fmt.Errorf("no snapshot of %d has a good path to %s: %s", len(a.snapshots), peer, a.snapshots)
}

// events is the last that was said of each event.
func (a archive) events(t *testing.T) map[uint64]eventAnswer {
	t.Helper()
	all := map[uint64]eventAnswer{}
	for _, r := range a.records {
		var e eventAnswer
		if r.Kind != "event" {
			continue
		}
		if err := json.Unmarshal(r.Payload, &e); err != nil || e.ID == 0 {
			t.Fatalf("%s: %v", r.Payload, err)
		}
		all[e.ID] = e
	}
	return all
}

func (n *proc) archiveTo(path string) {
	n.write("nodeprobe.yaml", fmt.Sprintf(`
interval: 1s
report: {every: 1s}
plugins: {enabled: {lines: {command: jsonlines, sha256: %s}}}
reporters: {archive: {plugin: lines, kind: jsonlines, config: {path: %q}}}
`, n.install("jsonlines"), path))
}

// TestThirdPartyReporter: snapshots come, and everything that the store has is in
// the reporter's file, in order, although the plugin and the node were killed in
// between.
func TestThirdPartyReporter(t *testing.T) {
	peer := newNode(t).start()
	n := newNode(t, peer)
	path := filepath.Join(n.dir, "archive.jsonl")
	n.archiveTo(path)
	began := time.Now().Add(-time.Second)
	n.start()
	n.eventually("the peer joined", func() error { return n.sees("alive", peer) })
	n.eventually("a snapshot shows it", func() error { return readArchive(t, path).shows(n.id(), peer.id()) })

	for range 2 {
		n.moreRecords(path)
		killPlugin(t, n, "lines")
	}
	n.moreRecords(path)
	n.kill()
	n.start()
	n.moreRecords(path)
	killPlugin(t, n, "lines")
	n.moreRecords(path)

	peer.stop() // a peer that has left is not polled: the node falls silent
	n.eventually("the peer has left", func() error { return n.stateOf(peer, "left") })
	n.eventually("all is delivered", n.drained)
	n.compare(readArchive(t, path), peer.port, began)
}

// moreRecords waits until the file has grown.
func (n *proc) moreRecords(path string) {
	n.t.Helper()
	before := len(readArchive(n.t, path).records)
	n.eventually("more records arrive", func() error {
		if now := len(readArchive(n.t, path).records); now < before+4 {
			return fmt.Errorf("%d records, %d before", now, before)
		}
		return nil
	})
}

func killPlugin(t *testing.T, n *proc, name string) {
	t.Helper()
	pid := n.pid(name)
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	n.eventually(name+" serves again", func() error { return n.serving(name, pid) })
}

// drained tells that the reporter has taken everything.
func (n *proc) drained() error {
	var a pluginsAnswer
	if err := n.get("/api/v1/plugins", &a); err != nil {
		return err
	}
	for _, r := range a.Reporters {
		if r.Backlog != 0 || r.LastError != "" {
			return fmt.Errorf("%+v", r)
		}
	}
	return nil
}

// compare holds the archive against the node's own history and events.
func (n *proc) compare(a archive, port int, since time.Time) {
	n.t.Helper()
	nodes, err := n.nodes()
	if err != nil {
		n.t.Fatal(err)
	}
	stored, _, err := n.history(nodes.Nodes[0].ID, "https", "", since)
	if err != nil {
		n.t.Fatal(err)
	}
	if got := a.runs(n.t, "https", port); got != stored || got < 8 {
		n.t.Errorf("the archive has %d results, the store %d", got, stored)
	}
	var events eventsAnswer
	if err := n.get("/api/v1/events?limit=1000", &events); err != nil {
		n.t.Fatal(err)
	}
	archived := a.events(n.t)
	for _, e := range events.Events {
		got, ok := archived[e.ID]
		if !ok || got.Kind != e.Kind || (got.Ended == nil) != (e.Ended == nil) {
			n.t.Errorf("event %+v: the archive has %+v", e, got)
		}
	}
	if len(archived) != len(events.Events) || len(archived) < 4 {
		n.t.Errorf("the archive has %d events, the node %d", len(archived), len(events.Events))
	}
	n.t.Logf("%d records, %d came again", len(a.records), a.again)
}
