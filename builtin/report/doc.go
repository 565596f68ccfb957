// Package report has the reporter "snapshot": it posts what the node knows of
// the network to a reporting server, as POST /report of the wire contract. The
// newest snapshot replaces all before it.
package report
