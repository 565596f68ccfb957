package https

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// explain gives err the reason that the stage under way tells more about than
// the error itself.
func (r *run) explain(ctx context.Context, err error) error {
	var (
		ne    net.Error
		errno syscall.Errno // without the net package's words around it
	)
	timeout := r.stage != stageDNS && errors.As(err, &ne) && ne.Timeout()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return sdk.Fail(sdk.ReasonCanceled, "canceled in stage %s", r.stage)
	case ctx.Err() != nil || timeout:
		return sdk.Fail(sdk.ReasonTimeout, "timeout in stage %s after %s", r.stage, time.Since(r.began).Round(10*time.Millisecond))
	case errors.Is(err, io.EOF) && r.stage == stageTLS:
		return sdk.Fail(sdk.ReasonTLS, "the peer closed the connection in the handshake")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return sdk.Fail(sdk.ReasonReset, "the peer closed the connection in stage %s", r.stage)
	case errors.As(err, &errno):
		return r.explainErrno(err, errno)
	case r.stage == stageTLS && sdk.ReasonOf(err) != sdk.ReasonIdentity:
		return sdk.Fail(sdk.ReasonTLS, "%w", err)
	default:
		return err
	}
}

// explainErrno leaves what this host lacks to the SDK, which does not count it
// against the peer.
func (r *run) explainErrno(err error, errno syscall.Errno) error {
	switch reason := sdk.ReasonOf(errno); reason {
	case sdk.ReasonResources, sdk.ReasonPermission:
		return fmt.Errorf("stage %s: %w", r.stage, err)
	default:
		return sdk.Fail(reason, "%s in stage %s with %s", errno.Error(), r.stage, r.addr)
	}
}
