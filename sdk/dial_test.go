package sdk

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func listen(t *testing.T) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// TestDialTimesTheHandshakeAlone: neither the lookup nor an address that refuses.
func TestDialTimesTheHandshakeAlone(t *testing.T) {
	const slow = 30 * time.Millisecond
	find := func(context.Context, string, string) ([]netip.Addr, error) {
		time.Sleep(slow)
		return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.3"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	began := time.Now()
	conn, r, err := dial(t.Context(), "name.example:"+listen(t), find)
	all := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if len(r.Stages) != 2 || r.Stages[0].Name != "dns" || r.Stages[1] != (Stage{Name: "connect", Took: r.RTT}) {
		t.Fatalf("got %+v, want dns and connect, which is the RTT", r)
	}
	if r.Stages[0].Took < slow || r.RTT <= 0 || r.RTT > all-slow {
		t.Errorf("got %+v of %s, want the lookup in dns alone", r, all)
	}
}

func TestDialOfAnAddressHasNoLookup(t *testing.T) {
	conn, r, err := Dial(t.Context(), "127.0.0.1:"+listen(t))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if len(r.Stages) != 1 || r.Stages[0].Name != "connect" || r.RTT != r.Stages[0].Took {
		t.Errorf("got %+v, want connect alone", r)
	}
}

func TestDialTellsWhy(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	port := listen(t)
	for _, tt := range []struct {
		name  string
		ctx   context.Context
		addr  string
		find  []netip.Addr
		err   error
		want  Reason
		stage bool
	}{
		{"no such name", t.Context(), "x:" + port, nil, &net.DNSError{Err: "no such host", Name: "x"}, ReasonDNS, false},
		{"no address", t.Context(), "x:" + port, nil, nil, ReasonDNS, true},
		{"refused", t.Context(), "x:" + port, []netip.Addr{netip.MustParseAddr("127.0.0.3")}, nil, ReasonRefused, true},
		{"ended", ended, "x:" + port, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil, ReasonCanceled, true},
	} {
		_, r, err := dial(tt.ctx, tt.addr, func(context.Context, string, string) ([]netip.Addr, error) { return tt.find, tt.err })
		if got := ReasonOf(err); got != tt.want || r.RTT != 0 || (len(r.Stages) == 1) != tt.stage {
			t.Errorf("%s: got %q of %v, %+v, want %q", tt.name, got, err, r, tt.want)
		}
	}
}
