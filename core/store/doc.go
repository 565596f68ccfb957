// Package store keeps what the node has measured and learned in one SQLite file:
// results, their latest state, nodes, events, reports and the outbox for
// reporters.
//
// One goroutine writes. It gathers what callers want written and commits it as
// one transaction, so that a call returns when its data is durable and a
// hundred results cost one fsync. Readers work beside it on connections of
// their own and never wait for it.
//
// Results begin as rows of integers (table tail), one per run and one per metric.
// Every ten minutes they are packed: an hour of a series into a chunk and, when
// the day is over, its hours into a roll-up. What is too old or too much goes in
// small steps: chunks that have roll-ups first. What is asked for most, the
// latest of everything, has tables of its own, written with the results.
//
// Each page of the file has a check sum (seal.go), put on and looked at between
// SQLite and the file system (vfs.go): what was damaged is an error, then a gap.
package store
