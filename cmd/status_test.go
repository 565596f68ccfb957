package cmd

import (
	"strings"
	"testing"
)

// TestStatusTellsTheState: it is that of the node too, not of the mesh alone.
func TestStatusTellsTheState(t *testing.T) {
	var b strings.Builder
	if summaryTable(&b, summary{State: "problem"}); !strings.Contains(b.String(), "\nstate\tproblem\n") {
		t.Errorf("got %q, want the state in it", b.String())
	}
}

func TestStatusTellsTheAddress(t *testing.T) {
	for want, ip := range map[string]string{
		"address\t192.0.2.1:8443": "192.0.2.1", "address\t[2001:db8::1]:8443": "2001:db8::1",
		"address\tn1.example.com:8443": "", // advertised by a name
	} {
		var s summary
		s.Self.FQDN, s.Self.IP, s.Self.Port = "n1.example.com", ip, 8443
		var b strings.Builder
		if summaryTable(&b, s); !strings.Contains(b.String(), want+"\n") {
			t.Errorf("got %q, want %q in it", b.String(), want)
		}
	}
}
