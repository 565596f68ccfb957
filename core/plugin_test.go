package core

import "testing"

func TestTrouble(t *testing.T) {
	for _, tt := range []struct {
		state         PluginState
		problem, want string
	}{
		{PluginRunning, "", ""},
		{PluginRunning, "is not well: no socket", "is not well: no socket"},
		{PluginStarting, "", "is starting"},
		{PluginBackoff, "ended with signal: killed", "waits to be started again: ended with signal: killed"},
		{PluginDisabled, "disabled after 5 crashes within 5m0s: ended", "is disabled after 5 crashes within 5m0s: ended"},
		{PluginDisabled, "", "is disabled"},
	} {
		if got := (PluginStatus{State: tt.state, Problem: tt.problem}).Trouble(); got != tt.want {
			t.Errorf("%s, %q: got %q, want %q", tt.state, tt.problem, got, tt.want)
		}
	}
}
