// Package path measures the ways between nodes: the probe "pmtu" finds the MTU of
// each direction and what hides it, "stamp" loss, jitter and network RTT, "trace"
// the hops. They ask the reflector of the other node, a UDP service that answers
// nobody but callers who prove a key handed to them over an authenticated poll.
//
// Nothing here needs a privilege: kernel timestamps, the error queue and packets
// that must not be fragmented are open to every process on Linux. Other systems
// lack one or more of them; there every probe says so as unsupported.
//
// Sizes are of whole IP packets, headers included, except on the wire and in
// names that say payload.
package path
