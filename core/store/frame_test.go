package store

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func someFrame(rng *rand.Rand) frame {
	var f frame
	for p := range 1 + rng.IntN(3) {
		l := frameList{probe: int64(p*7 + 1)}
		for d := int64(0); d < 60; d++ {
			if rng.IntN(5) > 0 {
				l.dests = append(l.dests, d)
			}
		}
		if len(l.dests) > 0 {
			f.lists = append(f.lists, l)
		}
		for range l.dests {
			f.cells = append(f.cells, someCell(rng))
		}
	}
	return f
}

func someCell(rng *rand.Rand) frameCell {
	c := frameCell{status: 1, bucket: uint8(rng.IntN(maxBucket + 1))}
	if rng.IntN(10) == 0 {
		c.status = int64(rng.IntN(4000)<<3 | 1 + rng.IntN(4))
	}
	return c
}

func TestFrames(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		f := someFrame(rng)
		body := appendKey(nil, &f)
		got, err := readKey(body)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Fatalf("key frame: got %+v, %v, want %+v", got, err, f)
		}
		cells := slices.Clone(f.cells)
		for range rng.IntN(5) {
			cells[rng.IntN(len(cells))] = someCell(rng)
		}
		delta := appendDelta(nil, f.cells, cells)
		must(t, readDelta(delta, len(cells), func(i int, c frameCell) { got.cells[i] = c }))
		if !slices.Equal(got.cells, cells) {
			t.Fatalf("delta: got %v, want %v", got.cells, cells)
		}
		data := appendFrame(appendFrame(appendFrame(nil, 3, frameKey, body), 70_000, frameDelta, delta), 5, frameSilent, nil)
		var heads [][2]int64
		must(t, frames(data, func(source int64, kind uint64, body []byte) { heads = append(heads, [2]int64{source, int64(kind)}) }))
		if want := [][2]int64{{3, frameKey}, {70_000, frameDelta}, {5, frameSilent}}; !slices.Equal(heads, want) {
			t.Fatalf("got %v, want %v", heads, want)
		}
	}
}

// A bucket is at most 12 % off, and a mesh on one continent takes a byte a cell.
func TestBuckets(t *testing.T) {
	for us := int64(1); us <= 3_600_000_000; us += 1 + us/50 {
		got := float64(bucketUS(bucketOf(us)))
		if off := got/float64(us) - 1; us > 20 && (off > 0.125 || off < -0.125) {
			t.Fatalf("%d us become %g", us, got)
		}
	}
	if bucketOf(0) != 0 || bucketUS(0) != 0 || bucketOf(1) != 1 || bucketOf(1<<60) != maxBucket {
		t.Error("the ends are wrong")
	}
}

func FuzzFrames(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		some := someFrame(rng)
		body := appendKey(nil, &some)
		f.Add(appendFrame(nil, 1, frameKey, body))
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = frames(data, func(_ int64, _ uint64, body []byte) { checkFrame(t, body) })
		checkFrame(t, data)
	})
}

func checkFrame(t *testing.T, body []byte) {
	got, err := readKey(body)
	if err == nil {
		again, err := readKey(appendKey(nil, &got))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%x: got %+v, then %+v, %v", body, got, again, err)
		}
	}
	if len(got.cells) > maxFrameCells {
		t.Fatalf("%d cells", len(got.cells))
	}
	_ = readDelta(body, 100, func(i int, c frameCell) {
		if i < 0 || i >= 100 || c.bucket > maxBucket {
			t.Fatalf("cell %d is %+v", i, c)
		}
	})
}
