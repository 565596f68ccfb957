package path

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

var (
	testSecret = []byte("0123456789abcdef0123456789abcdef")
	testCaller = callerID{1, 2, 3}
	testKey    = callerKey(testSecret, testCaller)
)

func TestRequestRoundTrip(t *testing.T) {
	for _, size := range []int{0, requestSize, requestSize + 4, 1372, 8972, maxPayload} {
		want := request{
			seq: 7, ssid: 9, sent: time.Unix(1700000000, 123456789), caller: testCaller,
			size: max(size, requestSize), reply: 1400, cookie: cookie{1, 2, 3, 4, 5, 6, 7, 8},
		}
		b := want.appendTo([]byte("before"), testKey)[6:]
		if len(b) != want.size {
			t.Fatalf("got %d bytes, want %d", len(b), want.size)
		}
		got, s, err := parseRequest(b)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		if !s.check(testKey) || s.check(callerKey(testSecret, callerID{9})) {
			t.Error("got a tag that does not tell keys apart")
		}
	}
}

func TestReplyRoundTrip(t *testing.T) {
	want := reply{
		seq: 3, ssid: 9, received: time.Unix(1700000000, 1), sent: time.Unix(1700000000, 2),
		askedSeq: 7, askedSent: time.Unix(1699999999, 999999999), askedTTL: 61,
		seen: seen{got: 120, mtu: 65536, overflow: 5, limited: 6, small: true, cookie: cookie{8, 1}},
		reports: []report{
			{mtu: 1400, router: netip.MustParseAddr("10.77.2.2"), seq: 2, quotes: true},
			{router: netip.MustParseAddr("fd77::1")},
			{mtu: 1280},
		},
		size: 1372,
	}
	b := want.appendTo(nil, testKey)
	got, err := parseReply(b, testKey)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseReply(b, testSecret); !errors.Is(err, errWrongKey) {
		t.Errorf("got %v with another key, want %v", err, errWrongKey)
	}
}

func TestQuoted(t *testing.T) {
	b := (&request{seq: 77, ssid: 88, sent: time.Now()}).appendTo(nil, testKey)
	if ssid, seq, ok := quoted(b[:20]); !ok || ssid != 88 || seq != 77 {
		t.Errorf("got %d, %d, %v", ssid, seq, ok)
	}
	for _, b := range [][]byte{nil, b[:15], bytes.Repeat([]byte{1}, 40)} {
		if _, _, ok := quoted(b); ok {
			t.Errorf("got %x taken as ours", b)
		}
	}
}

// Whatever is done to a packet, it is not taken, but for its padding: nobody reads that.
func TestTamperedPackets(t *testing.T) {
	req := (&request{seq: 1, ssid: 2, sent: time.Unix(1, 2), caller: testCaller, size: 200}).appendTo(nil, testKey)
	rep := (&reply{seq: 1, ssid: 2, size: 200, reports: []report{{mtu: 1400}}}).appendTo(nil, testKey)
	takesRequest := func(b []byte) bool {
		r, s, err := parseRequest(b)
		return err == nil && s.check(callerKey(testSecret, r.caller))
	}
	takesReply := func(b []byte) bool { _, err := parseReply(b, testKey); return err == nil }
	for name, c := range map[string]struct {
		packet []byte
		takes  func([]byte) bool
		sealed int
	}{
		"request": {req, takesRequest, requestSize},
		"reply":   {rep, takesReply, replySize + maxReportSize},
	} {
		if !c.takes(c.packet) {
			t.Fatalf("%s: got the packet itself refused", name)
		}
		for i := range c.sealed {
			b := bytes.Clone(c.packet)
			b[i] ^= 1
			// Flags of the HMAC's TLV say nothing.
			if c.takes(b) && i != c.sealed-tagSize-tlvHeader {
				t.Errorf("%s: got byte %d changed and the packet taken", name, i)
			}
		}
		for i := range c.packet {
			if c.takes(c.packet[:i]) {
				t.Errorf("%s: got %d of %d bytes taken", name, i, len(c.packet))
			}
		}
		if c.takes(append(bytes.Clone(c.packet), 0)) || c.takes(append(bytes.Clone(c.packet), 0, 1, 0, 0)) {
			t.Errorf("%s: got more bytes taken", name)
		}
	}
}

func TestRepliesAndRequestsAreNotMistaken(t *testing.T) {
	req := (&request{caller: testCaller, size: 200}).appendTo(nil, testKey)
	if _, err := parseReply(req, testKey); err == nil {
		t.Error("got a request taken for a reply")
	}
	rep := (&reply{size: 200}).appendTo(nil, testKey)
	if _, _, err := parseRequest(rep); err == nil {
		t.Error("got a reply taken for a request")
	}
}

func FuzzWire(f *testing.F) {
	f.Add((&request{caller: testCaller, size: 200}).appendTo(nil, testKey))
	f.Add((&reply{size: 300, reports: []report{{mtu: 1400, quotes: true}}}).appendTo(nil, testKey))
	f.Add(make([]byte, requestSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = quoted(b)
		if r, _, err := parseRequest(b); err == nil && r.size != len(b) {
			t.Errorf("got a request of %d bytes that says %d", len(b), r.size)
		}
		r, err := parseReply(b, testKey)
		if err == nil && (r.size != len(b) || len(r.reports) > maxReports) {
			t.Errorf("got a reply of %d bytes that says %d", len(b), r.size)
		}
	})
}
