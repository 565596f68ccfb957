// Package membership decides who is in the mesh and how each peer fares.
//
// An address heard of, from seed.json, from a caller or from a peer's list, is
// a candidate: it is dialled within budgets, never shown and never passed on.
// A handshake makes it a node, or tells that it is self or a node already
// known. One record stands for one real node, whatever names and addresses
// lead to it. What is decided is decided in rules.go, policy.go and detect.go;
// the other files keep the tables and the clock.
package membership
