package cmd

import (
	"strings"
	"testing"
)

func TestDocumentRows(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{
			`{"reached":true,"hops":[{"ttl":1,"nodes":[{"address":"192.0.2.1","seen_by":["udp","tcp"],"rtt_us":412}]},{"ttl":2,"nodes":[],"gap":true}],"links":[]}`,
			"d.reached|true\nd.hops|ttl 1, nodes address 192.0.2.1, seen_by udp; tcp, rtt 412µs\n-|ttl 2, nodes none, gap true\nd.links|none\n",
		},
		{`{}`, ""},
		{`{"a":{"b":null,"c":1.50}}`, "d.a|b <nil>, c 1.50\n"},
		{`[1]`, "d|[1]\n"},
		{`{"a":`, "d|{\"a\":\n"},
	} {
		var out strings.Builder
		documentRows(&out, "d", []byte(tt.body))
		if got := strings.ReplaceAll(out.String(), "\t", "|"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.body, got, tt.want)
		}
	}
}

func TestFigures(t *testing.T) {
	for name, want := range map[string]string{"a_timestamp_seconds": "1970-01-01T00:00:01Z", "a_seconds": "1s", "a_ratio": "1", "a_bytes": "1"} {
		if got := figure(name, 1); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
