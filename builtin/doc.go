// Package builtin lists the plugins that ship with NodeProbe. Each is written
// with package sdk alone, as a third party's would be.
package builtin
