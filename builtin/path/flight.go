package path

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// flightKey is how replies and errors find their train.
type flightKey struct {
	peer netip.AddrPort
	ssid uint16
}

// flight is a train on its way.
type flight struct {
	flightKey
	train
	caller  callerID
	key     []byte
	spacing time.Duration
	socket  *pacedSocket
	due     time.Time // next packet, or end of the tail
	closing bool      // all packets are out
	ids     []uint32  // of its packets, on the socket
	drops   uint32    // of the socket, when it began
	refused icmpKind  // what ICMP says of the packets; icmpOther: nothing
	by      netip.Addr
	err     error         // packets do not go out
	over    chan struct{} // closed at the end
}

// failure is why a train has no reply.
func (f *flight) failure(ctx context.Context) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return sdk.Fail(sdk.ReasonCanceled, "canceled")
	case f.err != nil && errors.Is(f.err, syscall.ENETUNREACH):
		return sdk.Fail(sdk.ReasonUnreachable, "%w", f.err)
	case f.err != nil:
		return f.err
	case f.refused == icmpPort:
		return sdk.Fail(sdk.ReasonRefused, "%s has no reflector on UDP port %d", f.peer.Addr(), f.peer.Port())
	case f.refused == icmpProhibited, f.refused == icmpUnreachable:
		return sdk.Fail(sdk.ReasonUnreachable, "%s lets no UDP pass to %s", f.by, f.peer)
	default:
		return sdk.Fail(sdk.ReasonTimeout, "none of %d packets to UDP port %d was answered", len(f.packets), f.peer.Port())
	}
}
