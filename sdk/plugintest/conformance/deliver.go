package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

const recordBytes = 512 << 10

// batchOf makes n records of the kinds that the reporter wants, with gaps.
func batchOf(r *pluginv1.ReporterInfo, n, bytesEach int) sdk.Batch {
	wants := r.GetWants()
	if len(wants) == 0 {
		wants = []string{sdk.RecordResult}
	}
	payload, _ := json.Marshal(map[string]string{"conformance": string(bytes.Repeat([]byte("x"), bytesEach))})
	var b sdk.Batch
	for i := range n {
		b.Records = append(b.Records, sdk.Record{
			Seq: uint64(10 * (i + 1)), Kind: wants[i%len(wants)], At: time.Unix(1_700_000_000+int64(i), 0), Payload: payload,
		})
	}
	return b
}

// deliver does not ask that the receiver be there: a refusal with a problem is a
// good receipt too.
func deliver(ctx context.Context, p *process) error {
	var errs []error
	for _, r := range p.about.GetReporters() {
		for _, b := range []sdk.Batch{batchOf(r, 0, 0), batchOf(r, 3, 0), batchOf(r, 3, 0), batchOf(r, 1, recordBytes)} {
			errs = append(errs, p.delivered(ctx, r.GetKind(), b))
		}
	}
	return errors.Join(append(errs, p.alive(ctx))...)
}

func (p *process) delivered(ctx context.Context, instance string, b sdk.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	raw, err := p.api.Deliver(ctx, sdk.BatchToProto(instance, b))
	if err != nil {
		return fmt.Errorf("deliver %d records to %s: %w", len(b.Records), instance, err)
	}
	r := sdk.ReceiptFromProto(raw)
	switch {
	case r.Through > b.Last():
		return fmt.Errorf("%s says that %d is durable, though the batch ends with %d", instance, r.Through, b.Last())
	case r.Err == nil && r.Through != b.Last():
		return fmt.Errorf("%s took the batch through %d of %d without a problem", instance, r.Through, b.Last())
	}
	return nil
}

// oversize: the limit is the plugin's own protection.
func oversize(ctx context.Context, p *process) error {
	huge := &pluginv1.ConfigureRequest{Instance: "huge", Kind: p.offers()[0].GetKind(), Config: make([]byte, sdk.MaxMessageBytes)}
	// Without this the client would refuse to send it, and the plugin never see it.
	_, err := p.api.Configure(ctx, huge, grpc.MaxCallSendMsgSize(math.MaxInt32))
	if status.Code(err) != codes.ResourceExhausted {
		return fmt.Errorf("a message of more than %d bytes: got %v, want ResourceExhausted", sdk.MaxMessageBytes, err)
	}
	return p.alive(ctx)
}
