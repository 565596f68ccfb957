package delivery

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

var counted = regexp.MustCompile(`^(\d+) records?, `)

func TestGapsEqualDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.o.MaxBytes = 200_000 // 2,000 records
		b.sink.set(down)
		b.start(t, core.RecordResult)
		for range 20 {
			b.outbox.add(700)
			b.Wake()
			time.Sleep(41 * time.Second)
		}
		b.sink.set(nil)
		time.Sleep(10 * time.Minute)
		lost := 14_000 - len(b.sink.distinct(t))
		told := 0
		for _, e := range b.notes.list() {
			m := counted.FindStringSubmatch(e.Message)
			if e.Kind != core.EventReportGap || e.Subject != "sink" || m == nil {
				t.Fatalf("got event %+v, want a gap of sink", e)
			}
			n, _ := strconv.Atoi(m[1])
			told += n
		}
		if lost < 10_000 || told != lost {
			t.Errorf("got %d records told as dropped, want %d, and over 10000", told, lost)
		}
		b.finish()
	})
}

func TestEndFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.start(t, core.RecordResult)
		b.outbox.add(2600) // nobody calls Wake
		if took := b.finish(); took > 0 {
			t.Errorf("got %v to flush, want none on a receiver that takes at once", took)
		}
		if got := b.sink.distinct(t); len(got) != 2600 {
			t.Errorf("got %d records, want 2600", len(got))
		}
	})
}

func TestEndIsBounded(t *testing.T) {
	for name, deliver := range map[string]func(context.Context, []core.Record) (core.Receipt, error){
		"hanging": func(ctx context.Context, _ []core.Record) (core.Receipt, error) {
			<-ctx.Done()
			return core.Receipt{}, ctx.Err()
		},
		"slow": func(_ context.Context, recs []core.Record) (core.Receipt, error) {
			time.Sleep(300 * time.Millisecond)
			return core.Receipt{Through: recs[0].Seq}, nil
		},
		"down": down,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				b.sink.set(deliver)
				b.start(t, core.RecordResult, core.RecordSnapshot)
				b.outbox.add(1000)
				b.Wake()
				synctest.Wait()
				if took := b.finish(); took > b.Delivery.o.Flush+300*time.Millisecond {
					t.Errorf("got %v to end, want at most %v", took, b.Delivery.o.Flush)
				}
			})
		})
	}
}

func TestReporterThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.start(t, core.RecordResult)
		all := []core.ReporterInfo{{Name: "sink", Plugin: "p", Kind: "k", Wants: []core.RecordKind{core.RecordResult}}}
		b.sink.set(down)
		b.outbox.add(10)
		b.Wake()
		time.Sleep(90 * time.Second) // between two ticks

		b.SetReporters(nil) // a reload that takes a moment
		time.Sleep(10 * time.Second)
		_, before := b.sink.seen()
		b.sink.set(nil)
		time.Sleep(10 * time.Second)
		if _, after := b.sink.seen(); after != before {
			t.Errorf("got %d attempts at a reporter that is gone, want none", after-before)
		}
		b.SetReporters(all)
		synctest.Wait()
		if got := b.sink.distinct(t); len(got) != 10 {
			t.Errorf("got %d records when it was back, want 10", len(got))
		}

		all[0].Wants = []core.RecordKind{core.RecordSnapshot} // it no longer wants what is kept there
		b.SetReporters(all)
		time.Sleep(61 * time.Second)
		b.finish()
		if len(b.outbox.cursors) != 0 {
			t.Errorf("got cursors %v, want none a minute after the last use of one", b.outbox.cursors)
		}
	})
}

func TestNothingIsForgottenBeforeReportersAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.outbox.cursors["sink"] = 0
		b.outbox.add(5)
		b.Delivery = New(b.o)
		ctx, cancel := context.WithCancel(t.Context())
		b.stop = cancel
		go func() { defer close(b.ended); _ = b.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		b.SetReporters([]core.ReporterInfo{{Name: "sink"}}) // its plugin does not answer yet
		time.Sleep(2 * time.Minute)
		b.SetReporters([]core.ReporterInfo{{Name: "sink", Wants: []core.RecordKind{core.RecordResult}}})
		synctest.Wait()
		if got := b.sink.distinct(t); len(got) != 5 {
			t.Errorf("got %d records, want 5", len(got))
		}
		b.finish()
	})
}

func TestRecordsAreOnlyMadeForTakers(t *testing.T) {
	results := []core.Result{{Job: core.Job{Probe: "https"}, Outcome: core.OutcomeSuccess, Started: time.Unix(100, 0)}}
	events := []core.Event{{Kind: core.EventNodeState, Began: time.Unix(1, 0), Ended: time.Unix(200, 0)}}
	for _, c := range []struct {
		name     string
		reporter []core.ReporterInfo
		want     []core.RecordKind
	}{
		{"no reporter", nil, nil},
		{"snapshots", []core.ReporterInfo{{Wants: []core.RecordKind{core.RecordSnapshot}}}, nil},
		{"events", []core.ReporterInfo{{Wants: []core.RecordKind{core.RecordEvent}}}, []core.RecordKind{core.RecordEvent}},
		{"not known yet", []core.ReporterInfo{{}}, []core.RecordKind{core.RecordResult, core.RecordEvent}},
		{
			"two reporters",
			[]core.ReporterInfo{{Wants: []core.RecordKind{core.RecordEvent}}, {Wants: []core.RecordKind{core.RecordResult}}},
			[]core.RecordKind{core.RecordResult, core.RecordEvent},
		},
	} {
		d := New(Options{})
		d.SetReporters(c.reporter)
		recs := d.Records(results, events)
		if len(recs) != len(c.want) {
			t.Errorf("%s: got %d records, want %d", c.name, len(recs), len(c.want))
			continue
		}
		for i, r := range recs {
			at := map[core.RecordKind]int64{core.RecordResult: 100, core.RecordEvent: 200}[r.Kind]
			if r.Kind != c.want[i] || r.At.Unix() != at || len(r.Payload) == 0 {
				t.Errorf("%s: got %s at %v, want %s at %d", c.name, r.Kind, r.At, c.want[i], at)
			}
		}
	}
}

// TestRegisteredBeforeRun: what happens between Register and Run is delivered.
func TestRegisteredBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.Delivery = New(b.o)
		b.SetReporters([]core.ReporterInfo{
			{Name: "sink", Wants: []core.RecordKind{core.RecordEvent}},
			{Name: "shots", Wants: []core.RecordKind{core.RecordSnapshot}},
			{Name: "silent"}, // its plugin has not told what it wants: its place stays as it was
		})
		if err := b.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(b.outbox.cursors) != 1 {
			t.Errorf("got places for %v, want one for sink", b.outbox.cursors)
		}
		b.outbox.add(3)
		ctx, cancel := context.WithCancel(t.Context())
		b.stop = cancel
		go func() { defer close(b.ended); _ = b.Run(ctx) }()
		synctest.Wait()
		if got := b.sink.distinct(t); len(got) != 3 {
			t.Errorf("got %d records, want 3", len(got))
		}
		b.finish()
		b.outbox.broken = errors.New("disk full")
		if err := b.Register(t.Context()); !errors.Is(err, b.outbox.broken) {
			t.Errorf("got %v, want %v", err, b.outbox.broken)
		}
	})
}
