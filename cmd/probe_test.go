package cmd

import (
	"encoding/json"
	"testing"
)

func TestPeerThatATargetNames(t *testing.T) {
	var known peers
	text := `{"nodes":[
		{"id":"a","name":"n1","endpoints":["192.0.2.1:8443","n1.example:8443"]},
		{"id":"b","name":"n2","endpoints":["192.0.2.2:443","192.0.2.9:1"]},
		{"id":"c","name":"n2","endpoints":["192.0.2.2:444"]}]}`
	if err := json.Unmarshal([]byte(text), &known); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:8443", "192.0.2.1:8443": "192.0.2.1:8443", "n1": "192.0.2.1:8443", "a": "192.0.2.1:8443", "n1.example": "n1.example:8443",
		"192.0.2.1:443": "", "192.0.2.2": "", "n2": "", "c": "192.0.2.2:444", "192.0.2.2:443": "192.0.2.2:443", "example.net": "", "": "",
	} {
		at, ok := known.find(target)
		if at.String() != want || ok != (want != "") {
			t.Errorf("%q: got %v, %v, want %q", target, at, ok, want)
		}
	}
}
