// Package identity holds who a node is: its key, the id that follows from the
// key, and the certificate that shows the key to others.
//
// The key is made once and never changes; the certificate is renewed with the
// same key while connections go on, so an id and a pin outlive every
// certificate. Whoever has the key is the node: it is in one file that only
// its owner can read.
package identity
