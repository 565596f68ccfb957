package core

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDocumentsThatChange(t *testing.T) {
	d := newDetails()
	for i, tt := range []struct{ name, id, want string }{
		{"hops", "a", "hops"}, {"hops", "a", ""}, {"hops", "b", "hops"}, {"other", "b", "other"}, {"hops", "b", ""}, {"hops", "a", "hops"},
	} {
		d.put(run("trace", OutcomeSuccess)) // without any: nothing is forgotten
		r := run("trace", OutcomeSuccess)
		r.Documents = []Document{{Name: tt.name, ID: tt.id}}
		d.put(r)
		got := ""
		if r.Documents[0].Changed {
			got = r.Documents[0].Name
		}
		if got != tt.want {
			t.Errorf("step %d: got %q changed, want %q", i, got, tt.want)
		}
	}
	d.trim(func(NodeID, string) bool { return false })
	if len(d.paths) != 0 {
		t.Errorf("got %v, want nothing kept", d.paths)
	}
}

func TestDetailsAreBounded(t *testing.T) {
	d := newDetails()
	for i := range 1000 {
		r := run("p", OutcomeSuccess)
		r.Documents = []Document{{Name: fmt.Sprint("d", i), ID: "x"}}
		r.Attributes = map[string]string{"a": "kept"}
		for n := range 64 {
			r.Attributes[fmt.Sprintf("n%02d", n)] = strings.Repeat("x", 512)
		}
		d.put(r)
	}
	for _, got := range d.paths {
		if len(got.documents) > maxConditions || len(got.attributes) != 4 || got.attributes["a"] != "kept" {
			t.Errorf("got %d documents and %d attributes", len(got.documents), len(got.attributes))
		}
	}
}

func TestEngineTellsAttributes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		e, stop := start(t, r.options(answering(func(j Job) Result {
			out := success(j)
			out.Attributes = map[string]string{"tls_version": "1.3"}
			return out
		})))
		e.SetProbes(testProbes(1))
		e.SetPeers(testPeers(1))
		time.Sleep(testInterval / 2)
		node := testPeers(1)[0].Target.Node
		if got := e.Attributes(node, "p0"); got["tls_version"] != "1.3" {
			t.Errorf("got %v", got)
		}
		e.SetPeers(nil)
		if got := e.Attributes(node, "p0"); got != nil {
			t.Errorf("got %v of a peer that is gone", got)
		}
		stop()
	})
}
