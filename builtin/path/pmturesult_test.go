package path

import "testing"

// A change is told only of what cannot have been so all the time.
func TestMTUsThatContradict(t *testing.T) {
	exact, bound := func(mtu int) pmtu { return pmtu{mtu: mtu, kind: kindExact} }, func(mtu int) pmtu { return pmtu{mtu: mtu, kind: kindAtLeast} }
	for _, tt := range []struct {
		was, now pmtu
		want     bool
	}{
		{exact(1500), exact(1500), false},
		{exact(1500), exact(1400), true},
		{pmtu{mtu: 1500, kind: kindAtLocalMax}, exact(1400), true},
		{bound(9000), pmtu{mtu: 65535, kind: kindAtLocalMax}, false},
		{bound(1300), exact(1400), false},
		{bound(1500), exact(1400), true},
		{exact(1400), bound(1300), false},
		{exact(1400), bound(1500), true},
		{bound(1300), bound(1400), false},
		{pmtu{kind: kindUnknown}, exact(1400), false},
		{exact(1400), pmtu{kind: kindUnknown}, false},
	} {
		if got := tt.now.contradicts(tt.was); got != tt.want {
			t.Errorf("%+v, then %+v: got %v, want %v", tt.was, tt.now, got, tt.want)
		}
	}
}

// What is known of a direction in the end.
func TestMTUsAfterOthers(t *testing.T) {
	exact, bound := pmtu{mtu: 1400, kind: kindExact}, pmtu{mtu: 1300, kind: kindAtLeast}
	for _, tt := range []struct{ was, now, want pmtu }{
		{pmtu{}, exact, exact},
		{pmtu{}, bound, bound},
		{exact, pmtu{kind: kindUnknown}, exact},
		{exact, bound, exact},
		{bound, exact, exact},
		{bound, pmtu{mtu: 1200, kind: kindAtLeast}, bound},
		{bound, pmtu{mtu: 1350, kind: kindAtLeast}, pmtu{mtu: 1350, kind: kindAtLeast}},
		{exact, pmtu{mtu: 1500, kind: kindAtLeast}, pmtu{mtu: 1500, kind: kindAtLeast}},
		{exact, pmtu{mtu: 1300, kind: kindExact}, pmtu{mtu: 1300, kind: kindExact}},
	} {
		if got := tt.now.after(tt.was); got != tt.want {
			t.Errorf("%+v, then %+v: got %+v, want %+v", tt.was, tt.now, got, tt.want)
		}
	}
}
