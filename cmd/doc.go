// Package cmd is the command line of NodeProbe: it parses, wires and exits. It
// is the only package that imports all the others; see node.go for how they
// are put together. Commands other than run talk to a running node over the
// admin socket in its data directory.
package cmd
