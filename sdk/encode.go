package sdk

import (
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// What is in every result is written here, from an Answer into the bytes of the
// message: to make its 25 messages first, and to size and write them, costs a
// tenth of a poll. What is rare goes through convert.go and protobuf. The numbers
// are those of plugin.proto.

// batch is a ResultBatch.
type batch struct {
	results [][]byte             // each from encode
	other   pluginv1.ResultBatch // without results
}

// codec is gRPC's for protobuf, and writes batches.
type codec struct{ encoding.CodecV2 }

func withCodec() grpc.ServerOption {
	return grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(protocodec.Name)})
}

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*batch)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	out, err := c.CodecV2.Marshal(&b.other)
	for _, r := range b.results {
		out = append(out, mem.SliceBuffer(r))
	}
	return out, err
}

// sizeHint is more than most results take.
const sizeHint = 512

// encode is an answer, within the bounds of Result, as a field of a ResultBatch.
func encode(a *Answer) []byte {
	w := writer{make([]byte, 0, sizeHint)}
	result := w.begin(1)
	w.number(1, a.JobID)
	w.number(2, uint64(a.Outcome))
	if a.Outcome != OutcomeSuccess {
		w.text(3, cleanText(string(a.Reason), maxName))
		w.text(4, cleanText(a.Message, maxMessageText))
	}
	w.time(5, a.Started)
	w.duration(6, a.Took)
	if a.Result.RTT > 0 {
		w.duration(7, a.Result.RTT)
	}
	w.stages(a.Result.Stages)
	w.metrics(a.Result.Metrics)
	w.attributes(a.Result.Attributes)
	w.learned(a.Result.Learned)
	w.rare(&a.Result)
	w.end(result)
	return w.bytes
}

func (w *writer) stages(in []Stage) {
	for _, s := range in[:min(len(in), maxStages)] {
		stage := w.begin(8)
		w.text(1, cleanText(s.Name, maxName))
		w.duration(2, s.Took)
		w.end(stage)
	}
}

func (w *writer) metrics(in []Metric) {
	n := 0
	for _, m := range in {
		if n < maxMetrics && isMetric(m) {
			n++
			metric := w.begin(9)
			w.text(1, m.Name)
			w.float(2, m.Value)
			w.end(metric)
		}
	}
}

// attributes keeps the first in alphabetical order when there are too many.
func (w *writer) attributes(in map[string]string) {
	if len(in) <= maxAttributes {
		for name, value := range in {
			w.attribute(name, value)
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(in))[:maxAttributes] {
		w.attribute(name, in[name])
	}
}

func (w *writer) attribute(name, value string) {
	if name = cleanText(name, maxName); name == "" {
		return
	}
	attribute := w.begin(10)
	w.text(1, name)
	w.text(2, cleanText(value, maxAttribute))
	w.end(attribute)
}

func (w *writer) learned(in *Learned) {
	if in == nil {
		return
	}
	learned := w.begin(11)
	if in.Identity != nil {
		w.identity(in.Identity)
	}
	if len(in.Peers) > 0 || len(in.View) > 0 {
		w.hearsay(in)
	}
	w.end(learned)
}

func (w *writer) identity(in *Identity) {
	identity := w.begin(1)
	w.text(1, cleanText(in.NodeID, maxName))
	w.data(2, in.SPKI[:min(len(in.SPKI), keyBytes)])
	w.text(3, cleanText(in.FQDN, maxHost))
	w.text(4, cleanText(in.Version, maxShortText))
	w.text(5, cleanText(in.BootID, maxShortText))
	w.number(6, uint64(in.Port))
	w.time(7, in.NotBefore)
	w.time(8, in.NotAfter)
	if len(in.Services) > 0 {
		w.fields(&pluginv1.Identity{Services: servicesToProto(in.Services)})
	}
	w.end(identity)
}

// hearsay leaves out the view where it is too much: peers and identity are within
// the bound by their own limits.
func (w *writer) hearsay(in *Learned) {
	told := &pluginv1.Learned{Peers: peersToProto(in.Peers), View: viewToProto(in.View)}
	if proto.Size(told) > maxLearnedBytes {
		told.View = nil
	}
	w.fields(told)
}

func (w *writer) rare(in *Result) {
	if len(in.Findings) > 0 || len(in.Documents) > 0 || in.Hint != "" {
		w.fields(&pluginv1.Result{
			Findings: findingsToProto(in.Findings), Documents: documentsToProto(in.Documents), Hint: cleanText(in.Hint, maxMessageText),
		})
	}
}
