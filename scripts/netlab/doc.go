// Package netlab tests the path probes in a small routed network of namespaces,
// which netlab.sh makes. What is true of the network, the script tells, and the delay
// line, a process that holds packets on one link, for how long it held them. "make
// e2e-path" runs it, as root; the probes run without any privilege.
package netlab
