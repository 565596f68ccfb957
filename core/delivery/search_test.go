package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// refuse makes a sink that never takes a batch with one of the records in it.
func (b *bench) refuse(poison ...uint64) {
	b.sink.set(func(_ context.Context, recs []core.Record) (core.Receipt, error) {
		if slices.ContainsFunc(recs, func(r core.Record) bool { return slices.Contains(poison, r.Seq) }) {
			return core.Receipt{Problem: "400 Bad Request"}, nil
		}
		return b.sink.take(recs), nil
	})
}

func TestPoisonIsSkippedAndTold(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	cases := [][]uint64{{2}, {1000}, {500}, {998, 1000}, {2, 4, 6}}
	for range 20 {
		cases = append(cases, []uint64{2 * (1 + random.Uint64N(1500)), 2 * (1 + random.Uint64N(1500))})
	}
	for _, poison := range cases {
		slices.Sort(poison)
		poison = slices.Compact(poison)
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			b.refuse(poison...)
			b.start(t, core.RecordResult)
			b.outbox.add(1500)
			b.Wake()
			time.Sleep(time.Hour)
			var want []uint64
			for seq := uint64(2); seq <= 3000; seq += 2 {
				if !slices.Contains(poison, seq) {
					want = append(want, seq)
				}
			}
			if got := b.sink.distinct(t); !slices.Equal(got, want) {
				t.Errorf("poison %v: got %d records, want the other %d", poison, len(got), len(want))
			}
			var told []string
			for _, e := range b.notes.list() {
				told = append(told, fmt.Sprint(e.Kind, " ", e.Subject, ": ", e.Message))
			}
			var say []string
			for _, seq := range poison {
				say = append(say, fmt.Sprintf("report_gap sink: 1 record, %d, dropped before sink took it: refused 3 times: 400 Bad Request", seq))
			}
			if !slices.Equal(told, say) {
				t.Errorf("got events %q, want %q", told, say)
			}
			_, attempts := b.sink.seen()
			if most := 4 + 25*len(poison); attempts > most {
				t.Errorf("poison %v: got %d attempts, want at most %d", poison, attempts, most)
			}
			b.finish()
		})
	}
}

func TestReceiverThatRefusesEverythingCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.sink.set(func(context.Context, []core.Record) (core.Receipt, error) {
			return core.Receipt{Problem: "401 Unauthorized"}, nil
		})
		b.start(t, core.RecordResult)
		b.outbox.add(5000)
		b.Wake()
		time.Sleep(24 * time.Hour)
		b.sink.set(nil)
		time.Sleep(time.Hour)
		lost := 5000 - len(b.sink.distinct(t))
		if lost < 1 || lost > 250 {
			t.Errorf("got %d records given up in a day, want 1 to 250", lost)
		}
		if told := len(b.notes.list()); told != lost {
			t.Errorf("got %d gaps told, want %d", told, lost)
		}
		b.finish()
	})
}

func TestBatchTooLargeIsNotPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.sink.set(func(_ context.Context, recs []core.Record) (core.Receipt, error) {
			if len(recs) > 60 {
				return core.Receipt{Problem: "413 Content Too Large"}, nil
			}
			return b.sink.take(recs), nil
		})
		b.start(t, core.RecordResult)
		b.outbox.add(10_000)
		b.Wake()
		time.Sleep(time.Hour)
		if got := b.sink.distinct(t); len(got) != 10_000 {
			t.Errorf("got %d records, want 10000", len(got))
		}
		if notes := b.notes.list(); len(notes) > 0 {
			t.Errorf("got gaps %v, want none", notes)
		}
		_, before := b.sink.seen()
		b.sink.set(nil)
		b.outbox.add(100_000)
		time.Sleep(time.Hour)
		got, after := b.sink.seen()
		if len(got) != 110_000 || after-before > 500 {
			t.Errorf("got %d records in %d more attempts, want 110000 in at most 500: batches grow again", len(got), after-before)
		}
		b.finish()
	})
}

func TestSearchGrowsBackAndCalmsDown(t *testing.T) {
	s := search{ceiling: maxRecords}
	for range refusals {
		if s.refused(500) {
			t.Fatal("500 records at once are not one that is refused")
		}
	}
	for left := 500; left > 0; {
		n := s.size()
		if n != max(1, left/2) {
			t.Fatalf("got a try of %d of %d records, want half", n, left)
		}
		s.accepted(n)
		left -= n
	}
	if s.size() != 250 {
		t.Errorf("got batches of %d after one was refused for its size, want 250", s.size())
	}
	for range 250 {
		s.accepted(1)
	}
	if s.size() != maxRecords {
		t.Errorf("got batches of %d after many were taken, want %d", s.size(), maxRecords)
	}

	for range 2 * refusals {
		s.refused(1)
	}
	if s.patience() != 2*refusals {
		t.Errorf("got patience %d after two records given up, want %d", s.patience(), 2*refusals)
	}
	if s.accepted(1); s.patience() != 0 {
		t.Errorf("got patience %d after one was taken, want 0", s.patience())
	}
}
