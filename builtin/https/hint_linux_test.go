package https

import (
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// What the kernel knew of a path, and knows another way now, is a hint; once.
func TestHints(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	if r := poll(t, p, n.target); r.Hint != "" || r.Attributes["kernel_path_mtu"] == "" {
		t.Fatalf("the first poll: got the hint %q, %v", r.Hint, r.Attributes)
	}
	var addr string
	for addr = range p.hints.byAddr {
	}
	now := p.hints.byAddr[addr]
	for _, tt := range []struct {
		before sizes
		want   string
	}{
		{now, ""},
		{sizes{now.mtu - 100, now.segment - 100, false}, "the MTU of the path"},
		{sizes{now.mtu, now.segment - 12, false}, "no longer"},
		{sizes{now.mtu, 1220, true}, "come through again"},
	} {
		p.hints.swap(addr, tt.before)
		if r := poll(t, p, n.target); !strings.Contains(r.Hint, tt.want) || tt.want == "" && r.Hint != "" {
			t.Errorf("before %+v, now %+v: got the hint %q, want %q", tt.before, now, r.Hint, tt.want)
		}
		if r := poll(t, p, n.target); r.Hint != "" {
			t.Errorf("again: got the hint %q", r.Hint)
		}
	}
}

func TestHintsAreBounded(t *testing.T) {
	h := newHints()
	for i := range 2 * maxRemembered {
		h.swap(strings.Repeat("x", i), sizes{})
	}
	if n := len(h.byAddr); n != maxRemembered {
		t.Errorf("got %d addresses, want %d", n, maxRemembered)
	}
}
