// Package require is for tests that need what not every machine has: a browser, a
// database server, root. By hand they skip; where all is meant to be there, they
// fail.
package require

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Environment variable with the names of what is required, between commas.
const variable = "NODEPROBE_REQUIRE"

// Missing ends a test that has not got what it needs, and says why: it is skipped,
// or fails where NODEPROBE_REQUIRE names what.
func Missing(t testing.TB, what, why string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(why, args...)
	if slices.Contains(strings.Split(os.Getenv(variable), ","), what) {
		t.Fatal(text)
	}
	t.Skip(text)
}
