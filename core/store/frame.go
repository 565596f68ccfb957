package store

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// A frame is a row of the matrix at one time: what a peer told of its paths. A
// row of the table matrix_frame has the frames of many peers, one after the
// other, all numbers uvarint:
//
//	source; length of the body << 2 | kind; body
//
// Body of a key frame, which says everything:
//
//	probes: count, each:
//	    probe; runs of destinations: count, each:
//	        first - that behind the run before; how many more follow it
//	cells, in that order: a token
//
// Body of a delta, which says what changed since the frame before, until it ends:
//
//	cells that did not change before this one; token
//
// Token: 0 another status, its code and bucket follow; else success, bucket + 1.
// A frame without a body tells that the peer was silent. A peer that has no frame
// in a row goes on as it was.
type frame struct {
	lists []frameList // by probe
	cells []frameCell // of all lists, one after the other
}

// frameList is the destinations of one probe, rising.
type frameList struct {
	probe int64
	dests []int64
}

type frameCell struct {
	status int64 // code.id
	bucket uint8 // of the RTT, 0: not measured
}

// The kinds of a frame.
const (
	frameDelta  = 0
	frameKey    = 1
	frameSilent = 2
)

const (
	// bucketRatio is how much a bucket of RTT is above the one before.
	bucketRatio = 1.25
	// maxBucket is an hour.
	maxBucket = 100
	// maxFrameCells bounds what is read: a view has no more pairs.
	maxFrameCells = maxPairs
	maxName       = 1<<31 - 1
)

var errBadFrame = errors.New("frame of the matrix is damaged")

// bucketOf is the bucket of an RTT in microseconds.
func bucketOf(us int64) uint8 {
	if us <= 0 {
		return 0
	}
	return uint8(min(1+int(math.Round(math.Log(float64(us))/math.Log(bucketRatio))), maxBucket))
}

// bucketUS is the RTT in the middle of a bucket.
func bucketUS(b uint8) int64 {
	if b == 0 {
		return 0
	}
	return int64(math.Round(math.Pow(bucketRatio, float64(b-1))))
}

func (f *frame) sameShape(o *frame) bool {
	return slices.EqualFunc(f.lists, o.lists, func(a, b frameList) bool { return a.probe == b.probe && slices.Equal(a.dests, b.dests) })
}

func appendCell(b []byte, c frameCell) []byte {
	if c.status == statusSuccess {
		return append(b, c.bucket+1)
	}
	return append(binary.AppendUvarint(append(b, 0), uint64(c.status)), c.bucket)
}

// appendRising packs n rising numbers: runs of them.
func appendRising(b []byte, n int, at func(int) int64) []byte {
	var runs []byte
	count, next := uint64(0), int64(0)
	for i := 0; i < n; count++ {
		first, more := at(i), 0
		for i++; i < n && at(i) == at(i-1)+1; i++ {
			more++
		}
		runs = binary.AppendUvarint(runs, uint64(first-next))
		runs = binary.AppendUvarint(runs, uint64(more))
		next = at(i-1) + 1
	}
	return append(binary.AppendUvarint(b, count), runs...)
}

// readRising unpacks at most most rising numbers, in place of what is in all.
func readRising(r *numbers, most uint64, all []int64) []int64 {
	all = all[:0]
	next := uint64(0)
	for range min(r.uvarint(), most+1) {
		first, more := r.uvarint(), r.uvarint()
		if r.err != nil || first > maxName || next > maxName || more >= most-uint64(len(all)) {
			r.fail()
			return all[:0]
		}
		first += next
		all = slices.Grow(all, int(more)+1)
		for d := first; d <= first+more; d++ {
			all = append(all, int64(d))
		}
		next = first + more + 1
	}
	return all
}

// appendKey packs the body of a key frame.
func appendKey(b []byte, f *frame) []byte {
	b = binary.AppendUvarint(b, uint64(len(f.lists)))
	for _, l := range f.lists {
		b = binary.AppendUvarint(b, uint64(l.probe))
		b = appendRising(b, len(l.dests), func(i int) int64 { return l.dests[i] })
	}
	for _, c := range f.cells {
		b = appendCell(b, c)
	}
	return b
}

// appendDelta packs what of cells is not as it was; nothing when all is.
func appendDelta(b []byte, was, cells []frameCell) []byte {
	same := uint64(0)
	for i, c := range cells {
		if c == was[i] {
			same++
			continue
		}
		b = appendCell(binary.AppendUvarint(b, same), c)
		same = 0
	}
	return b
}

// appendFrame packs a frame with its head.
func appendFrame(b []byte, source int64, kind uint64, body []byte) []byte {
	b = binary.AppendUvarint(b, uint64(source))
	b = binary.AppendUvarint(b, uint64(len(body))<<2|kind)
	return append(b, body...)
}

// frames calls do with each frame in a row of the table. It trusts nothing.
func frames(data []byte, do func(source int64, kind uint64, body []byte)) error {
	r := numbers{b: data}
	for len(r.b) > 0 && r.err == nil {
		source, head := r.uvarint(), r.uvarint()
		n, kind := head>>2, head&3
		if r.err != nil || source > maxName || n > uint64(len(r.b)) || kind > frameSilent {
			return errBadFrame
		}
		do(int64(source), kind, r.b[:n])
		r.b = r.b[n:]
	}
	if r.err != nil {
		return errBadFrame
	}
	return nil
}

// readKey unpacks the body of a key frame. It trusts nothing.
func readKey(body []byte) (f frame, err error) {
	err = f.read(body)
	return f, err
}

// read is readKey in place of what is in f, whose memory it uses again.
func (f *frame) read(body []byte) error {
	r := numbers{b: body}
	cells := uint64(0)
	lists := f.lists[:cap(f.lists)]
	f.lists, f.cells = f.lists[:0], f.cells[:0]
	for i := range min(r.uvarint(), maxFrameCells+1) {
		l := frameList{probe: int64(r.uvarint() & maxName)}
		if i < uint64(len(lists)) {
			l.dests = lists[i].dests
		}
		l.dests = readRising(&r, maxFrameCells-cells, l.dests)
		cells += uint64(len(l.dests))
		if r.err != nil || len(l.dests) == 0 {
			return errBadFrame
		}
		f.lists = append(f.lists, l)
	}
	f.cells = slices.Grow(f.cells, int(cells))
	for range cells {
		f.cells = append(f.cells, readCell(&r))
	}
	if r.err != nil || len(r.b) > 0 {
		return errBadFrame
	}
	return nil
}

func readCell(r *numbers) frameCell {
	u := r.uvarint()
	c := frameCell{status: statusSuccess}
	if u == 0 {
		c.status, u = int64(r.uvarint()&maxName), r.uvarint()+1
	}
	if u == 0 || u > maxBucket+1 || c.status&7 == 0 || c.status&7 > 4 {
		r.fail()
		return c
	}
	c.bucket = uint8(u - 1)
	return c
}

// readDelta calls do with each cell that changed, of n. It trusts nothing.
func readDelta(body []byte, n int, do func(i int, c frameCell)) error {
	r := numbers{b: body}
	for i := 0; len(r.b) > 0; i++ {
		same := r.uvarint()
		c := readCell(&r)
		if r.err != nil || same >= uint64(n-i) {
			return errBadFrame
		}
		i += int(same)
		do(i, c)
	}
	return nil
}
