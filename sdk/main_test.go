package sdk_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the main function of the plugins that tests start as processes.
func TestMain(m *testing.M) {
	if plugin := os.Getenv(envPlugin); plugin != "" {
		servePlugin(plugin)
		return
	}
	goleak.VerifyTestMain(m)
}
