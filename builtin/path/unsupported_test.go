package path

import (
	"context"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// Where the system lacks something, nobody is blamed: not even by a train of which
// no packet was answered.
func TestUnsupportedSystem(t *testing.T) {
	err := unsupportedOn("windows")
	if outcome, _ := sdk.Judge(err); outcome != sdk.OutcomeUnsupported || !strings.Contains(err.Error(), "windows has no error queue") {
		t.Errorf("got %v as %v, want unsupported with the reason", err, outcome)
	}
	s, _ := newStamp(StampConfig{Count: 2, Spacing: paceTick}, sdk.Env{})
	p := s.(*stamper)
	defer p.Close()
	p.pacer.open = func(bool) (datagrams, error) { return nil, err }
	p.reflector = func(sdk.Target) (reflectorAt, bool) { return reflectorAt{port: 1, key: make([]byte, 32)}, true }
	_, got := p.Probe(context.Background(), sdk.Target{Host: "192.0.2.1"})
	if outcome, _ := sdk.Judge(got); outcome != sdk.OutcomeUnsupported {
		t.Errorf("stamp: got %v as %v, want unsupported", got, outcome)
	}
}
