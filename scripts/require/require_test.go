package require

import (
	"fmt"
	"testing"
)

// ended is what Missing did to a test.
type ended struct {
	testing.TB
	how string
}

func (e *ended) Helper()          {}
func (e *ended) Fatal(why ...any) { e.how = "failed: " + fmt.Sprint(why...) }
func (e *ended) Skip(why ...any) {
	if e.how == "" {
		e.how = "skipped: " + fmt.Sprint(why...)
	}
}

func TestMissing(t *testing.T) {
	for list, want := range map[string]string{
		"": "skipped", "root": "failed", "chromium,root": "failed", "rootless": "skipped", "chromium": "skipped",
	} {
		t.Setenv(variable, list)
		e := &ended{TB: t}
		Missing(e, "root", "no %s", "mount")
		if e.how != want+": no mount" {
			t.Errorf("%q: got %q, want %s", list, e.how, want)
		}
	}
}
