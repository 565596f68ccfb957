package plugintest

import (
	"errors"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk/plugintest/conformance"
)

// Conformance holds a plugin binary to the contract, a subtest for each check.
// What the checks need beside the path (arguments, a good configuration of each
// kind, a target) is in the subject.
func Conformance(t *testing.T, s conformance.Subject) {
	t.Helper()
	for _, c := range conformance.Checks() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			err := c.Run(t.Context(), &s)
			switch {
			case errors.Is(err, conformance.ErrNotApplicable):
				t.Skip(err)
			case err != nil:
				t.Errorf("%s: %v", c.Purpose, err)
			}
		})
	}
}
