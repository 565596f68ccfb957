//go:build !linux

package path

import (
	"net/netip"
	"runtime"
	"time"
)

// socket is none: what path probes need of a system was only found on Linux.
type socket struct{ v6 bool }

func errSystem() error { return unsupportedOn(runtime.GOOS) }

func listen(netip.AddrPort, role) (*socket, error) { return nil, errSystem() }

func dial(uint16, netip.AddrPort) (*socket, error) { return nil, errSystem() }

func (s *socket) close() error { return nil }

func (s *socket) local() netip.AddrPort { return netip.AddrPort{} }

func (s *socket) remote() netip.Addr { return netip.Addr{} }

func (s *socket) receive([]byte, time.Time) (arrival, error) { return arrival{}, errSystem() }

func (s *socket) send([]byte, netip.AddrPort, netip.Addr, int) (uint32, error) {
	return 0, errSystem()
}

func (s *socket) kernelMTU() int { return 0 }

func (s *socket) hopLimit() int { return 0 }

// tooBigHere tells that err of send means: larger than the interface takes.
func tooBigHere(error) bool { return false }
