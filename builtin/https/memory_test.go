package https

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// tagging answers body with tag, or 304 when the caller has it; asked takes the
// tags that callers sent.
func tagging(tag, body string, asked *[]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Header.Get("If-None-Match"))
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		answer(body)(w, r)
	}
}

func TestNotModified(t *testing.T) {
	const tag = `"7-42-full"`
	var asked []string
	n := serve(t, tagging(tag, string(golden(t, "nodeinfo.json")), &asked))
	p := newProber(t, defaults(), sdk.Env{})
	first := poll(t, p, n.target)
	second := poll(t, p, n.target)
	if got := second.Attributes["http_status"]; got != "304" {
		t.Fatalf("status: got %s, want 304", got)
	}
	wantReused(t, second, "true")
	a, b := first.Learned.Identity, second.Learned.Identity
	if a.NodeID != b.NodeID || a.FQDN != b.FQDN || a.Version != b.Version || a.BootID != b.BootID || a.Port != b.Port || string(a.SPKI) != string(b.SPKI) || b.NotAfter.IsZero() {
		t.Errorf("identity: got %+v, want %+v", b, a)
	}
	if second.Learned.Peers != nil || second.Learned.View != nil {
		t.Errorf("learned from 304: got %+v", second.Learned)
	}
	fresh := n.target
	fresh.Fresh = true
	if got := len(poll(t, p, fresh).Learned.Peers); got != 2 {
		t.Errorf("peers of a fresh poll: got %d, want 2", got)
	}
	if want := []string{"", tag, ""}; len(asked) != 3 || asked[0] != want[0] || asked[1] != want[1] || asked[2] != want[2] {
		t.Errorf("tags sent: got %q, want %q", asked, want)
	}
}

// The tag goes to the holder of the key that gave it, and to nobody else.
func TestTagOfAnotherKey(t *testing.T) {
	p := newProber(t, defaults(), sdk.Env{})
	var asked []string
	n := serve(t, tagging(`"1"`, body("", ""), &asked))
	r := poll(t, p, n.target)
	addr := r.Attributes["remote_address"]
	p.memory.set(remembered{addr: addr, etag: `"1"`, fetched: time.Now()}) // of the zero key
	poll(t, p, n.target)
	if len(asked) != 2 || asked[1] != "" {
		t.Errorf("tags sent: got %q, want none", asked)
	}
}

func TestTagSyntax(t *testing.T) {
	for tag, want := range map[string]bool{
		`"a"`: true, `W/"a"`: true, `""`: true, `a`: false, ``: false, `"`: false, `"a`: false, `"a"b"`: false, `"a b"`: false,
		"\"a\r\nX: y\"": false, `w/"a"`: false, "\"\x7f\"": false,
	} {
		if got := isETag(tag); got != want {
			t.Errorf("%q: got %v, want %v", tag, got, want)
		}
	}
	var asked []string
	n := serve(t, tagging(`not a tag`, body("", ""), &asked))
	p := newProber(t, defaults(), sdk.Env{})
	poll(t, p, n.target)
	poll(t, p, n.target)
	if asked[1] != "" {
		t.Errorf("sent %q", asked[1])
	}
}

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(2)
		key := keyHash{1}
		has := func(addr string) bool {
			_, ok := m.get(addr, key, time.Now())
			return ok
		}
		for _, addr := range []string{"a", "b"} {
			m.set(remembered{addr: addr, key: key, fetched: time.Now()})
		}
		if !has("a") {
			t.Error("a is not remembered")
		}
		m.set(remembered{addr: "c", key: key, fetched: time.Now()})
		if has("b") || !has("a") || !has("c") {
			t.Error("b, unused for longest, should have made room")
		}
		time.Sleep(refreshAfter - time.Second)
		if !has("a") {
			t.Error("a is forgotten too early")
		}
		time.Sleep(time.Second)
		if has("a") {
			t.Error("a is believed for longer than refreshAfter")
		}
		m.drop("a")
		m.drop("a")
		if m.order.Len() != len(m.byAddr) || m.order.Len() != 1 {
			t.Errorf("left: got %d and %d, want 1", m.order.Len(), len(m.byAddr))
		}
	})
}
