//go:build !unix

package https

import "syscall"

// canLimitSegments tells that limitSegments works.
const canLimitSegments = false

func limitSegments(int) func(network, address string, c syscall.RawConn) error { return nil }
