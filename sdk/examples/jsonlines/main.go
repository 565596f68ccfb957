// Command jsonlines is a NodeProbe plugin: a reporter that appends every result,
// event and snapshot to a file, one JSON object a line.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"

	"github.com/seahow-uk/nodeprobe/sdk"
)

type config struct {
	Path string `json:"path" nodeprobe:"required" jsonschema:"file to append to; made when it is not there"`
}

type reporter struct{ file *os.File }

func open(c config, _ sdk.Env) (sdk.Reporter, error) {
	f, err := os.OpenFile(c.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, sdk.Invalid("path", "%w", err)
	}
	return reporter{f}, nil
}

type line struct {
	Seq     uint64          `json:"seq"`
	Kind    string          `json:"kind"`
	Payload json.RawMessage `json:"payload"`
}

// Deliver answers for what the disk has, not for what the kernel was given. After
// an error the same results and events may come again: readers tell them by seq.
func (r reporter) Deliver(_ context.Context, b sdk.Batch) (uint64, error) {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, rec := range b.Records {
		if err := enc.Encode(line{rec.Seq, rec.Kind, rec.Payload}); err != nil {
			return 0, sdk.Permanent(err)
		}
	}
	if _, err := r.file.Write(lines.Bytes()); err != nil {
		return 0, err
	}
	if err := r.file.Sync(); err != nil {
		return 0, err
	}
	return b.Last(), nil
}

func (r reporter) Close() error { return r.file.Close() }

func main() {
	sdk.Serve(sdk.NewReporter("jsonlines", "1.0.0", open,
		sdk.Summary("appends results, events and snapshots to a file"), sdk.Wants(sdk.RecordResult, sdk.RecordEvent, sdk.RecordSnapshot)))
}
