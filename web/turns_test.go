package web

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
)

// taken is how many of n turns of who are taken at once; the others wait until
// the test ends.
func taken(ctx context.Context, t *turns, who string, n int) (count int) {
	got := make(chan func(), n)
	for range n {
		go func() {
			if leave, err := t.take(ctx, netip.MustParseAddr(who)); err == nil {
				got <- leave
				<-ctx.Done()
				leave()
			}
		}()
	}
	synctest.Wait()
	return len(got)
}

func TestOneNetworkCannotTakeAllTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		turns := newTurns()
		for _, step := range []struct {
			who  string
			want int
		}{{"192.0.2.1", maxTurnsEach}, {"192.0.2.2", maxTurnsEach}, {"192.0.2.3", 0}} {
			if got := taken(ctx, turns, step.who, 10); got != step.want {
				t.Errorf("%s: got %d turns, want %d", step.who, got, step.want)
			}
		}
		cancel()
		synctest.Wait()
		if len(turns.by) != 0 || len(turns.room) != 0 {
			t.Errorf("after all have gone: got %d networks and %d turns, want none", len(turns.by), len(turns.room))
		}
		ctx, cancel = context.WithCancel(context.Background())
		if got := taken(ctx, turns, "127.0.0.1", 10); got != maxTurns {
			t.Errorf("loopback: got %d turns, want %d", got, maxTurns)
		}
		cancel()
		synctest.Wait()
	})
}
