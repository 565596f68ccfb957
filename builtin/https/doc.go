// Package https is the probe "https": it polls a node's GET /nodeinfo over TLS.
// A run proves who the node is, measures the way to it, and learns what it says
// of itself, of other nodes and of the paths that it measures.
//
// A poll is one exchange of HTTP/1.1 on a connection that the probe makes, keeps
// and measures itself; net/http reads the answer. http.Transport would hide which
// connection carried what, and its two goroutines and buffers take 28 KiB for each
// kept connection instead of 6, and 80 us more a poll at 100 polls a second.
//
// What a peer sends is an enemy's until shown otherwise: nothing is sent before
// the handshake proved the pinned key, and every length, depth, count and field
// of the answer has its limit.
package https
