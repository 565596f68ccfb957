package sdk

import (
	"context"
	"encoding/json"
	"time"
)

// Reporter delivers records to somewhere else.
//
// Deliver gets the records in rising order and returns the sequence number
// through which all of them are durable at the receiver, even with an error;
// what comes after it is delivered again later. Delivery is at least once: a
// record may come a second time. An error is taken for passing unless it is
// [Permanent]; [Retryable] says when to try again. One batch at a time is under
// way for each instance.
type Reporter interface {
	Deliver(ctx context.Context, b Batch) (through uint64, err error)
}

// ReporterFunc is a function as a Reporter.
type ReporterFunc func(ctx context.Context, b Batch) (through uint64, err error)

// Deliver calls f.
func (f ReporterFunc) Deliver(ctx context.Context, b Batch) (uint64, error) { return f(ctx, b) }

// Batch is a run of records in rising order of their sequence numbers.
type Batch struct {
	Records []Record
}

// Last is the sequence number of the last record, 0 when there is none.
func (b Batch) Last() uint64 {
	if len(b.Records) == 0 {
		return 0
	}
	return b.Records[len(b.Records)-1].Seq
}

// Kinds of records, for [Wants].
const (
	RecordSnapshot = "snapshot"
	RecordResult   = "result"
	RecordEvent    = "event"
)

// Record is one thing to deliver.
type Record struct {
	// Seq rises by record and may have gaps.
	Seq  uint64
	Kind string
	At   time.Time
	// Payload is a JSON object, as /api/v1 shows it.
	Payload json.RawMessage
}
