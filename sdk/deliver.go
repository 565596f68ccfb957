package sdk

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// Deliver implements the service.
func (s *Server) Deliver(ctx context.Context, b *pluginv1.Batch) (*pluginv1.Receipt, error) {
	in := s.instances.acquire(b.GetInstance())
	if in == nil {
		return nil, status.Errorf(codes.NotFound, "reporter %q is not configured", b.GetInstance())
	}
	defer in.release()
	if in.reporter == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "%q is a probe", b.GetInstance())
	}
	select {
	case in.delivering <- struct{}{}:
		defer func() { <-in.delivering }()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	batch := batchFromProto(b)
	through, err := in.deliver(ctx, batch)
	var broke *failure
	if errors.As(err, &broke) && broke.outcome == OutcomePluginError {
		return nil, status.Error(codes.Internal, problemText(err))
	}
	return receiptToProto(through, batch.Last(), err), nil
}

func (i *instance) deliver(ctx context.Context, b Batch) (through uint64, err error) {
	defer func() {
		if p := recover(); p != nil {
			i.log.Error("panic in Deliver", "panic", p, "stack", string(debug.Stack()))
			err = Internal(fmt.Errorf("panic: %v", p))
		}
	}()
	return i.reporter.Deliver(ctx, b)
}

// receiptToProto never acknowledges what was not in the batch.
func receiptToProto(through, last uint64, err error) *pluginv1.Receipt {
	r := &pluginv1.Receipt{Through: min(through, last)}
	var d *delivery
	switch {
	case err == nil && through < last:
		r.Problem, r.Retryable = fmt.Sprintf("the reporter took only what comes through %d of %d", through, last), true
	case errors.As(err, &d):
		r.Problem, r.Retryable = problemText(err), d.retryable
		if d.retryable && d.after > 0 {
			r.RetryAfter = durationpb.New(d.after)
		}
	case err != nil:
		r.Problem, r.Retryable = problemText(err), true
	}
	return r
}

// problemText is never empty: empty means that all is well.
func problemText(err error) string {
	if s := cleanText(err.Error(), maxMessageText); s != "" {
		return s
	}
	return "an error without a text"
}

// Receipt is what the host gets of a delivery. For hosts and tests.
type Receipt struct {
	Through uint64
	// Err is nil, [Retryable] or [Permanent].
	Err error
}

// ReceiptFromProto reads a receipt. For hosts and tests.
func ReceiptFromProto(r *pluginv1.Receipt) Receipt {
	out := Receipt{Through: r.GetThrough()}
	switch {
	case r.GetProblem() == "":
	case r.GetRetryable():
		out.Err = Retryable(errors.New(r.GetProblem()), r.GetRetryAfter().AsDuration())
	default:
		out.Err = Permanent(errors.New(r.GetProblem()))
	}
	return out
}
