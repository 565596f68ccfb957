package delivery

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestNothingIsLostThroughFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100_000
		b := newBench()
		random := rand.New(rand.NewPCG(1, 2))
		faulty := func(_ context.Context, recs []core.Record) (core.Receipt, error) {
			switch random.IntN(8) {
			case 0: // never arrived
				return core.Receipt{}, errDown
			case 1: // arrived, but the answer was lost
				b.sink.take(recs)
				return core.Receipt{}, errDown
			case 2: // arrived in part
				return b.sink.take(recs[:random.IntN(len(recs)+1)]), nil
			case 3: // arrived in part, then too much for it
				r := b.sink.take(recs[:random.IntN(len(recs)+1)])
				r.Problem, r.Retryable, r.RetryAfter = "too busy", true, time.Duration(random.IntN(60))*time.Second
				return r, nil
			case 4: // says that it has more than it was given
				r := b.sink.take(recs)
				r.Through += 1_000_000
				return r, nil
			}
			return b.sink.take(recs), nil
		}
		b.sink.set(faulty)
		b.start(t, core.RecordResult)
		for range n / 1000 {
			b.outbox.add(1000)
			b.Wake()
			time.Sleep(time.Second)
		}
		time.Sleep(12 * time.Hour)
		b.finish()
		got := b.sink.distinct(t)
		if len(got) != n || got[0] != 2 || got[n-1] != 2*n {
			t.Errorf("got %d records, %d to %d; want %d, 2 to %d", len(got), got[0], got[len(got)-1], n, 2*n)
		}
		if notes := b.notes.list(); len(notes) > 0 {
			t.Errorf("got gaps %v, want none", notes)
		}
	})
}

func TestSinkDownForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.sink.set(down)
		b.start(t, core.RecordResult)
		for range 3600 {
			b.outbox.add(10)
			b.Wake()
			time.Sleep(time.Second)
		}
		_, attempts := b.sink.seen()
		if attempts < 10 || attempts > 80 {
			t.Errorf("got %d attempts in an hour, want 10 to 80", attempts)
		}
		s := b.status(t)
		if s.LastError != errDown.Error() || s.Backlog != 36_000 || s.Delivered != 0 || s.NextTry.IsZero() {
			t.Errorf("got status %+v", s)
		}
		b.sink.set(nil)
		time.Sleep(longestPause)
		if got := b.sink.distinct(t); len(got) != 36_000 {
			t.Errorf("got %d records, want 36000", len(got))
		}
		s = b.status(t)
		if s.LastError != "" || s.Backlog != 0 || s.Delivered != 36_000 || !s.NextTry.IsZero() || s.LastSuccess.IsZero() {
			t.Errorf("got status %+v", s)
		}
		b.finish()
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for _, c := range []struct{ after, want time.Duration }{
		{90 * time.Second, 90 * time.Second},
		{20 * time.Minute, 20 * time.Minute}, // longer than our own longest pause
		{240 * time.Hour, time.Hour},         // not for ever
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench()
			b.sink.set(func(context.Context, []core.Record) (core.Receipt, error) {
				return core.Receipt{Problem: "429 Too Many Requests", Retryable: true, RetryAfter: c.after}, nil
			})
			b.start(t, core.RecordResult)
			b.outbox.add(1)
			b.Wake()
			synctest.Wait()
			b.sink.set(nil)
			time.Sleep(c.want - time.Second)
			b.Wake()
			synctest.Wait()
			if _, attempts := b.sink.seen(); attempts != 1 {
				t.Errorf("after %v: got %d attempts before its end, want 1", c.after, attempts)
			}
			time.Sleep(2 * time.Second)
			if got, _ := b.sink.seen(); len(got) != 1 {
				t.Errorf("after %v: got %d records after its end, want 1", c.after, len(got))
			}
			b.finish()
		})
	}
}

func TestSlowReporterDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.o.Deliver = func(ctx context.Context, name string, recs []core.Record) (core.Receipt, error) {
			if name == "stuck" {
				<-ctx.Done()
				return core.Receipt{}, ctx.Err()
			}
			return b.sink.Deliver(ctx, name, recs)
		}
		b.start(t, core.RecordResult)
		wants := []core.RecordKind{core.RecordResult}
		b.SetReporters([]core.ReporterInfo{{Name: "sink", Plugin: "p", Kind: "k", Wants: wants}, {Name: "stuck", Wants: wants}})
		synctest.Wait()
		for range 10 {
			b.outbox.add(1)
			b.Wake()
			synctest.Wait()
		}
		if got, _ := b.sink.seen(); len(got) != 10 {
			t.Errorf("got %d records at once, want 10", len(got))
		}
		time.Sleep(b.Delivery.o.Timeout)
		synctest.Wait()
		if s := b.Status()[1]; s.LastError != context.DeadlineExceeded.Error() {
			t.Errorf("got status %+v of the stuck one, want that its time was up", s)
		}
		b.finish()
	})
}

func TestBrokenStoreIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.outbox.broken = errDown
		b.start(t, core.RecordResult)
		if s := b.status(t); s.LastError == "" {
			t.Error("got no error in the status, want one")
		}
		b.outbox.mu.Lock()
		b.outbox.broken = nil
		b.outbox.mu.Unlock()
		b.outbox.add(3)
		time.Sleep(10 * time.Second)
		if got := b.sink.distinct(t); !slices.Equal(got, []uint64{2, 4, 6}) {
			t.Errorf("got %v, want 2, 4, 6", got)
		}
		b.finish()
	})
}
