package plugins

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/seahow-uk/nodeprobe/core"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// What is in every result is read here, from the bytes of the message into a
// core.Result. Messages in between would be some 50 allocations a run, a third of
// what it costs the host. What is rare, or will be added to the contract, is read
// by protobuf and goes through convert.go.

// answer is a result whose job is not looked up yet.
type answer struct {
	id uint64
	core.Result
}

// answers is one message of results, and what was read before it.
type answers struct {
	list  []answer
	other pluginv1.ResultBatch // whatever is not a result

	words map[string]string        // texts that repeat, by what was sent
	known map[string]*core.Learned // what targets prove of themselves, by what was sent
}

// maxKept texts, and targets, are kept: over the largest mesh. A longer text is
// not likely to come again.
const (
	maxKept      = 4096
	maxKeptBytes = 1024
)

func newAnswers() *answers {
	return &answers{words: make(map[string]string), known: make(map[string]*core.Learned)}
}

// codec is gRPC's for protobuf, and reads answers.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(protocodec.Name)} }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	a, ok := v.(*answers)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	return a.read(buf.ReadOnlyData())
}

// The fields that are in every result, as they begin on the wire.
const (
	batchResult = 1<<3 | bytesType

	resultJobID     = 1<<3 | varintType
	resultOutcome   = 2<<3 | varintType
	resultStarted   = 5<<3 | bytesType
	resultTook      = 6<<3 | bytesType
	resultRTT       = 7<<3 | bytesType
	resultStage     = 8<<3 | bytesType
	resultMetric    = 9<<3 | bytesType
	resultAttribute = 10<<3 | bytesType
	resultLearned   = 11<<3 | bytesType

	durationSeconds = 1<<3 | varintType
	durationNanos   = 2<<3 | varintType

	partName   = 1<<3 | bytesType // of stage, metric and attribute
	partTook   = 2<<3 | bytesType
	partNumber = 2<<3 | fixed64Type
	partText   = 2<<3 | bytesType
)

// read makes a the message in b.
func (a *answers) read(b []byte) error {
	clear(a.list)
	a.list = a.list[:0]
	a.other.Reset()
	var other []byte
	r := reader{left: b}
	for r.next() {
		if r.tag != batchResult {
			other = append(other, r.field...)
			continue
		}
		if len(a.list) == maxCredit {
			return fmt.Errorf("more than %d results in one message", maxCredit)
		}
		a.list = append(a.list, answer{})
		if err := a.result(r.bytes, &a.list[len(a.list)-1]); err != nil {
			return fmt.Errorf("result: %w", err)
		}
	}
	if r.err != nil || len(other) == 0 {
		return r.err
	}
	return proto.Unmarshal(other, &a.other)
}

func (a *answers) result(b []byte, to *answer) error {
	var rare []byte
	r := reader{left: b}
	for r.next() && r.err == nil {
		switch r.tag {
		case resultJobID:
			to.id = r.number
		case resultOutcome:
			to.Outcome = outcomeOf(pluginv1.Outcome(r.number))
		case resultStarted: // by the plugin's clock
		case resultTook:
			to.Took, r.err = duration(r.bytes, maxTook)
		case resultRTT:
			to.RTT, r.err = duration(r.bytes, maxRTT)
		case resultStage:
			r.err = a.stage(r.bytes, to)
		case resultMetric:
			r.err = a.metric(r.bytes, to)
		case resultAttribute:
			r.err = a.attribute(r.bytes, to)
		case resultLearned:
			to.Learned, r.err = a.learned(r.bytes)
		default:
			rare = append(rare, r.field...)
		}
	}
	if r.err != nil {
		return r.err
	}
	return addRare(rare, &to.Result)
}

// duration is a google.protobuf.Duration within 0 and limit; invalid ones are 0.
func duration(b []byte, limit time.Duration) (time.Duration, error) {
	var seconds, nanos int64
	r := reader{left: b}
	for r.next() {
		switch r.tag {
		case durationSeconds:
			seconds = int64(r.number)
		case durationNanos:
			nanos = int64(int32(r.number))
		}
	}
	switch {
	case seconds < 0 || nanos < 0 || nanos >= int64(time.Second):
		return 0, r.err
	case seconds >= int64(limit/time.Second):
		return limit, r.err
	default:
		return time.Duration(seconds)*time.Second + time.Duration(nanos), r.err
	}
}

func (a *answers) stage(b []byte, to *answer) error {
	var s core.Stage
	r := reader{left: b}
	for r.next() && r.err == nil {
		switch r.tag {
		case partName:
			s.Name = a.word(r.bytes, maxNameText)
		case partTook:
			s.Took, r.err = duration(r.bytes, maxRTT)
		}
	}
	if s.Name != "" && len(to.Stages) < maxStages {
		to.Stages = append(to.Stages, s)
	}
	return r.err
}

// metric leaves out what no store and no chart can hold, as metricsOf does.
func (a *answers) metric(b []byte, to *answer) error {
	var m core.Metric
	r := reader{left: b}
	for r.next() {
		switch r.tag {
		case partName:
			m.Name = a.word(r.bytes, maxNameText+1) // cut to its bound it might be a word
		case partNumber:
			m.Value = math.Float64frombits(r.number)
		}
	}
	if len(to.Metrics) < maxMetrics && isMetric(m.Name, m.Value) {
		to.Metrics = append(to.Metrics, m)
	}
	return r.err
}

func (a *answers) attribute(b []byte, to *answer) error {
	var key, value string
	r := reader{left: b}
	for r.next() {
		switch r.tag {
		case partName:
			key = a.word(r.bytes, maxNameText)
		case partText:
			value = a.word(r.bytes, maxAttribute)
		}
	}
	if key == "" || len(to.Attributes) >= maxAttributes {
		return r.err
	}
	if to.Attributes == nil {
		to.Attributes = make(map[string]string, 8)
	}
	to.Attributes[key] = value
	return r.err
}

// word is the clean text of b.
func (a *answers) word(b []byte, limit int) string {
	if w, ok := a.words[string(b)]; ok {
		return w
	}
	w := core.CleanText(string(b), limit)
	if len(b) <= maxNameText { // the same for all limits
		remember(a.words, b, w)
	}
	return w
}

// learned is the same of a target, run for run, unless there are news of others.
func (a *answers) learned(b []byte) (*core.Learned, error) {
	if l, ok := a.known[string(b)]; ok {
		return l, nil
	}
	var msg pluginv1.Learned
	if err := proto.Unmarshal(b, &msg); err != nil {
		return nil, err
	}
	l := learnedOf(&msg)
	if len(b) <= maxKeptBytes && len(l.Peers) == 0 && len(l.View) == 0 {
		remember(a.known, b, l)
	}
	return l, nil
}

func remember[T any](kept map[string]T, sent []byte, v T) {
	if len(kept) >= maxKept {
		clear(kept)
	}
	kept[string(sent)] = v
}
