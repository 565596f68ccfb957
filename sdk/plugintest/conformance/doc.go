// Package conformance holds a plugin binary, written in any language, to the
// plugin contract (sdk/proto/v1): it starts the binary as a NodeProbe host does
// and looks at what it answers.
//
// The checks are data, for tests (plugintest.Conformance) and for commands:
//
//	for _, c := range conformance.Checks() {
//		err := c.Run(ctx, &conformance.Subject{Path: "./my-plugin"})
//		...
//	}
package conformance
