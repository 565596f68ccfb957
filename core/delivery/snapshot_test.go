package delivery

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestFirstSnapshot(t *testing.T) {
	for _, c := range []struct {
		name string
		news bool
		want time.Duration
	}{
		{"soon after the first news", true, 3*time.Second + firstSnapshotAfterNews},
		{"without news", false, firstSnapshot},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				b := newBench()
				b.start(t, core.RecordSnapshot)
				time.Sleep(3 * time.Second)
				if c.news {
					b.Wake()
				}
				time.Sleep(12 * time.Second)
				if at := b.sink.times(); len(at) == 0 || at[0].Sub(began) != c.want {
					t.Errorf("got attempts at %v, want the first after %v", at, c.want)
				}
				b.finish()
			})
		})
	}
}

func TestSnapshotsComeRegularly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.start(t, core.RecordSnapshot)
		time.Sleep(5 * time.Hour)
		at := b.sink.times()
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < 270*time.Second || d > 330*time.Second {
				t.Errorf("got %v between two snapshots, want 5 min and at most 10 %% off", d)
			}
		}
		got, _ := b.sink.seen()
		if len(got) < 54 || len(got) > 67 {
			t.Errorf("got %d snapshots in five hours, want about 60", len(got))
		}
		for i, seq := range got {
			if seq != uint64(i+1) {
				t.Fatalf("got sequence numbers %v, want them to rise by one", got)
			}
		}
		b.finish()
		if len(b.outbox.cursors) > 0 {
			t.Error("a reporter of snapshots alone has a place in the outbox")
		}
	})
}

func TestNewestSnapshotWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.sink.set(down)
		b.start(t, core.RecordSnapshot)
		time.Sleep(time.Hour)
		b.sink.set(nil)
		up := time.Now()
		for len(b.sink.distinct(t)) == 0 {
			time.Sleep(time.Second)
		}
		if wait := time.Since(up); wait > longestPause+time.Second {
			t.Errorf("got the first snapshot %v after the receiver was back, want at most %v", wait, longestPause)
		}
		time.Sleep(time.Minute)
		b.finish()
		if len(b.sink.payloads) != 1 {
			t.Fatalf("got %d snapshots, want the newest alone", len(b.sink.payloads))
		}
		made, err := time.Parse(time.RFC3339, b.sink.payloads[0])
		if err != nil || made.Before(up) {
			t.Errorf("got a snapshot made at %v, want one made after %v: %v", made, up, err)
		}
	})
}

func TestRefusedSnapshotWaitsForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.sink.set(func(context.Context, []core.Record) (core.Receipt, error) {
			return core.Receipt{Problem: "400 Bad Request"}, nil
		})
		b.start(t, core.RecordSnapshot)
		time.Sleep(firstSnapshot + 30*time.Second)
		if _, attempts := b.sink.seen(); attempts != refusals {
			t.Errorf("got %d attempts at one snapshot, want %d", attempts, refusals)
		}
		if s := b.status(t); s.LastError != "400 Bad Request" || s.NextTry.IsZero() {
			t.Errorf("got status %+v", s)
		}
		b.sink.set(nil)
		time.Sleep(6 * time.Minute)
		if got, _ := b.sink.seen(); len(got) != 1 {
			t.Errorf("got %d snapshots, want 1", len(got))
		}
		b.finish()
	})
}
