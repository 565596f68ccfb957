//go:build !linux

package cmd

// dropPages does nothing: other systems do not say what can be given back.
func dropPages() {}
