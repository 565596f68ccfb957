package builtin

import (
	"slices"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func TestKinds(t *testing.T) {
	d := All()[Name].Describe()
	if d.Name != Name || len(All()) != 1 {
		t.Errorf("%d plugins, one calls itself %q; want %q alone", len(All()), d.Name, Name)
	}
	var got []string
	for _, k := range append(d.Probes, d.Reporters...) {
		got = append(got, k.Kind)
	}
	if want := []string{"pmtu", "stamp", "trace", "https", "snapshot"}; !slices.Equal(got, want) {
		t.Errorf("offers %v, want %v", got, want)
	}
}

// The https probe is what admits nodes to the mesh: a mistake here is a mesh
// that finds nobody.
func TestHTTPSIdentifies(t *testing.T) {
	list := All()[Name].Describe().Probes
	p := list[slices.IndexFunc(list, func(k sdk.KindInfo) bool { return k.Kind == "https" })]
	if !p.Identifies || p.Interval <= 0 || p.Timeout <= 0 || len(p.Needs) != 1 || p.Needs[0] != sdk.CapabilityIdentity {
		t.Errorf("got %+v", p)
	}
}
