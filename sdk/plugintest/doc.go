// Package plugintest runs plugins in tests.
//
// [Start] serves a plugin inside the test, over real gRPC on a real socket, and
// drives it as a host does:
//
//	h := plugintest.Start(t, sdk.NewProbe("banner", "1.0.0", New), plugintest.Options{})
//	h.Configure("banner", "banner", map[string]any{"want": "SSH-"})
//	answer := h.Run("banner", plugintest.Banner(t, "SSH-2.0-x\r\n"))
//
// [Refusing], [Silent], [Resetting] and others are targets that misbehave.
// [Conformance] holds any plugin binary, in any language, to the contract.
package plugintest
