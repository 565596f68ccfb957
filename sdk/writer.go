package sdk

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// writer makes the bytes of a protobuf message. Numbers that are 0 and texts that
// are empty are not written, as proto3 has it.
type writer struct{ bytes []byte }

func (w *writer) number(field protowire.Number, v uint64) {
	if v != 0 {
		w.bytes = protowire.AppendVarint(protowire.AppendTag(w.bytes, field, protowire.VarintType), v)
	}
}

func (w *writer) float(field protowire.Number, v float64) {
	if v != 0 {
		w.bytes = protowire.AppendFixed64(protowire.AppendTag(w.bytes, field, protowire.Fixed64Type), math.Float64bits(v))
	}
}

func (w *writer) text(field protowire.Number, s string) {
	if s != "" {
		w.bytes = protowire.AppendString(protowire.AppendTag(w.bytes, field, protowire.BytesType), s)
	}
}

func (w *writer) data(field protowire.Number, b []byte) {
	if len(b) > 0 {
		w.bytes = protowire.AppendBytes(protowire.AppendTag(w.bytes, field, protowire.BytesType), b)
	}
}

// begin opens a message within the message; end, with what begin returned, closes it.
func (w *writer) begin(field protowire.Number) (start int) {
	w.bytes = append(protowire.AppendTag(w.bytes, field, protowire.BytesType), 0)
	return len(w.bytes)
}

func (w *writer) end(start int) {
	size := uint64(len(w.bytes) - start)
	if more := protowire.SizeVarint(size) - 1; more > 0 { // begin left room for one byte
		w.bytes = slices.Insert(w.bytes, start, make([]byte, more)...)
	}
	protowire.AppendVarint(w.bytes[:start-1], size)
}

// duration writes d; a negative one is 0.
func (w *writer) duration(field protowire.Number, d time.Duration) {
	d = max(d, 0)
	w.seconds(field, int64(d/time.Second), int(d%time.Second))
}

// time writes t, unless it is zero.
func (w *writer) time(field protowire.Number, t time.Time) {
	if !t.IsZero() {
		w.seconds(field, t.Unix(), t.Nanosecond())
	}
}

func (w *writer) seconds(field protowire.Number, seconds int64, nanos int) {
	start := w.begin(field)
	w.number(1, uint64(seconds))
	w.number(2, uint64(nanos))
	w.end(start)
}

// fields adds those of m, which is of the type that is being written. It leaves
// out an m with a text that is not UTF-8: whoever made it has cleaned them.
func (w *writer) fields(m proto.Message) {
	if b, err := (proto.MarshalOptions{}).MarshalAppend(w.bytes, m); err == nil {
		w.bytes = b
	}
}
