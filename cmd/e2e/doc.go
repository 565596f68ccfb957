// Package e2e tests the built binary as its users meet it: nodes as processes,
// the mesh that they form, plugins, the command line, and bad input.
package e2e
