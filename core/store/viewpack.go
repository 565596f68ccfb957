package store

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/seahow-uk/nodeprobe/core"
)

// A view is packed into one value per source: a mesh of 100 nodes tells some
// 1,000 pairs a second, which as rows would cost more than all probing does, and
// one of 1,000 nodes has a million of them to be kept. All numbers are uvarint:
//
//	version byte = 2
//	newest pair, ms since 1970
//	strings: count, each length and bytes; number 0 is ""
//	states: count, each: outcome byte; numbers of reason and message
//	lists, one for each probe: count, each:
//	    number of the probe
//	    destinations that have a number: runs of them, as in a key frame (frame.go)
//	    those that have none: count, each 16 bytes
//	    metrics: count, each: number of the name << 1 | 1 when some pairs have none
//	columns (bits.go) of each list, with one number for each pair:
//	    state; age, s before the newest; RTT, us, 0 = not measured
//	    of each metric: 1 where it is missing, when some are
//	        zigzag(value * scale - that of the pair before), of those that have it
const viewVersion = 2

// ageMS is the grain of the time of a pair.
const ageMS = 1000

// texts numbers values in the order of their first use.
type texts[T comparable] struct {
	number map[T]uint64
	list   []T
}

func newTexts[T comparable](first ...T) *texts[T] {
	t := &texts[T]{number: map[T]uint64{}}
	for _, v := range first {
		t.of(v)
	}
	return t
}

func (t *texts[T]) of(v T) uint64 {
	n, ok := t.number[v]
	if !ok {
		n = uint64(len(t.list))
		t.number[v] = n
		t.list = append(t.list, v)
	}
	return n
}

// packView packs what soundPairs returned into most bytes: if need be without
// messages and metrics, then only the first pairs. number is that of a node, 0
// when it has none.
func packView(pairs []core.PathStatus, number func(core.NodeID) int64, most int) []byte {
	packed := packPairs(pairs, number)
	if len(packed) <= most {
		return packed
	}
	bare := slices.Clone(pairs)
	for i := range bare {
		bare[i].Message, bare[i].Metrics = "", nil
	}
	for packed = packPairs(bare, number); len(packed) > most && len(bare) > 0; packed = packPairs(bare, number) {
		bare = bare[:len(bare)*most/len(packed)]
	}
	return packed
}

// mostPacked is one of as many equal parts as there are nodes: a peer must not
// cost the history, however much it tells.
func (w *writer) mostPacked() int {
	return int(min(maxPacked, w.s.o.MaxBytes/viewShare/int64(max(1, len(w.admitted)))))
}

// viewPacker packs the pairs of one source.
type viewPacker struct {
	newest int64
	texts  *texts[string]
	states *texts[codeKey]
	heads  []byte
	cols   bitWriter
}

// numberedPair is a pair with the number of its destination.
type numberedPair struct {
	number int64
	*core.PathStatus
}

func packPairs(pairs []core.PathStatus, number func(core.NodeID) int64) []byte {
	p := viewPacker{texts: newTexts(""), states: newTexts[codeKey]()}
	probes := newTexts[string]()
	var lists [][]numberedPair
	for i := range pairs {
		p.newest = max(p.newest, pairs[i].At.UnixMilli())
		n := probes.of(pairs[i].Probe)
		if int(n) == len(lists) {
			lists = append(lists, nil)
		}
		lists[n] = append(lists[n], numberedPair{number(pairs[i].Destination), &pairs[i]})
	}
	for _, l := range lists {
		p.list(l)
	}
	b := binary.AppendUvarint([]byte{viewVersion}, uint64(p.newest))
	b = binary.AppendUvarint(b, uint64(len(p.texts.list)-1))
	for _, s := range p.texts.list[1:] {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	b = binary.AppendUvarint(b, uint64(len(p.states.list)))
	for _, s := range p.states.list {
		b = append(b, byte(s.outcome))
		b = binary.AppendUvarint(b, p.texts.of(s.reason))
		b = binary.AppendUvarint(b, p.texts.of(s.message))
	}
	b = binary.AppendUvarint(b, uint64(len(lists)))
	b = append(b, p.heads...)
	return append(b, p.cols.done()...)
}

func (p *viewPacker) list(pairs []numberedPair) {
	slices.SortStableFunc(pairs, func(a, b numberedPair) int { return cmp.Compare(a.number, b.number) })
	first := slices.IndexFunc(pairs, func(n numberedPair) bool { return n.number > 0 })
	if first < 0 {
		first = len(pairs)
	}
	pairs = slices.Concat(pairs[first:], pairs[:first]) // those without a number last
	known := len(pairs) - first
	p.heads = binary.AppendUvarint(p.heads, p.texts.of(pairs[0].Probe))
	p.heads = appendRising(p.heads, known, func(i int) int64 { return pairs[i].number })
	p.heads = binary.AppendUvarint(p.heads, uint64(len(pairs)-known))
	for _, n := range pairs[known:] {
		p.heads = append(p.heads, n.Destination[:]...)
	}
	states, ages, rtts := make([]uint64, len(pairs)), make([]uint64, len(pairs)), make([]uint64, len(pairs))
	for i, n := range pairs {
		p.texts.of(string(n.Reason))
		p.texts.of(n.Message)
		states[i] = p.states.of(codeKey{n.Outcome, string(n.Reason), n.Message})
		ages[i] = uint64(p.newest-n.At.UnixMilli()+ageMS/2) / ageMS
		if us := rttUS(n.RTT); us != nil {
			rtts[i] = uint64(*us)
		}
	}
	p.cols.column(states)
	p.cols.column(ages)
	p.cols.column(rtts)
	p.metrics(pairs)
}

// metrics packs the first maxPairMetrics of a list: a probe has the same ones at
// all nodes.
func (p *viewPacker) metrics(pairs []numberedPair) {
	names := newTexts[string]()
	for _, n := range pairs {
		for _, m := range n.Metrics {
			if len(names.list) < maxPairMetrics {
				names.of(m.Name)
			}
		}
	}
	slices.Sort(names.list)
	p.heads = binary.AppendUvarint(p.heads, uint64(len(names.list)))
	for _, name := range names.list {
		missing, values := make([]uint64, len(pairs)), make([]uint64, 0, len(pairs))
		var last int64
		for i, n := range pairs {
			v := scaledOf(n.Metrics, name)
			if v == nil {
				missing[i] = 1
				continue
			}
			values = append(values, zigzag(*v-last))
			last = *v
		}
		some := uint64(1)
		if len(values) == len(pairs) {
			some = 0
		} else {
			p.cols.column(missing)
		}
		p.heads = binary.AppendUvarint(p.heads, p.texts.of(name)<<1|some)
		p.cols.column(values)
	}
}

func scaledOf(ms []core.Metric, name string) *int64 {
	for _, m := range ms {
		if m.Name == name {
			return scaled(m.Value, scaleOf(name))
		}
	}
	return nil
}
