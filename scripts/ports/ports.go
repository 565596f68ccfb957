// Package ports is for tests and benchmarks that must know a port before somebody
// listens on it, or one on which nobody does. A port that the kernel chose and that
// was closed again is soon another program's; these are none that it chooses.
package ports

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// From first to last: above those of well-known services, below those that Linux
// (from 32768), Windows and macOS (from 49152) give to whoever asks for any.
const first, last = 20000, 32767

var taken atomic.Uint32

func init() { taken.Store(rand.Uint32N(last - first)) }

// Free gives the first of n neighbouring ports on which nobody listens at 127.0.0.1,
// by TCP or UDP. It gives no port twice, until all were given.
func Free(n int) (int, error) {
	for range last - first {
		end := taken.Add(uint32(n)) % (last - first)
		if end < uint32(n) {
			continue // they would reach beyond the last
		}
		port := first + int(end) - n
		if unused(port, n) {
			return port, nil
		}
	}
	return 0, errors.New("no free ports")
}

// Must is Free for tests: there is no test without its ports.
func Must(n int) int {
	port, err := Free(n)
	if err != nil {
		panic(err)
	}
	return port
}

func unused(port, n int) bool {
	for p := port; p < port+n; p++ {
		at := net.JoinHostPort("127.0.0.1", strconv.Itoa(p))
		l, err := net.Listen("tcp", at)
		if err != nil {
			return false
		}
		l.Close()
		c, err := net.ListenPacket("udp", at)
		if err != nil {
			return false
		}
		c.Close()
	}
	return true
}
