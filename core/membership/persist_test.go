package membership

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestNodesAreSavedInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sims := w.oneSeed(20)
		w.pass(3*time.Second, sims...)
		for _, s := range sims {
			s.store.mu.Lock()
			if s.store.saves > 3 || len(s.store.nodes) != 19 {
				t.Errorf("node %d: %d nodes in %d saves, want 19 in at most 3", s.n, len(s.store.nodes), s.store.saves)
			}
			s.store.saves = 0
			s.store.mu.Unlock()
		}
		w.pass(time.Hour, sims...)
		s := sims[3].store
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.saves < 10 || s.saves > 15 {
			t.Errorf("%d saves in a quiet hour, want 12", s.saves)
		}
		for _, n := range s.nodes {
			if age := time.Since(n.LastSeen); age > seenPause+interval+time.Minute {
				t.Errorf("last seen is %s old in the store", age)
			}
		}
	})
}

func TestStoreThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.pair(func(o *Options) {
			o.Store.(*fakeStore).fail = errors.New("disk full")
		})
		if len(a.store.all()) != 0 {
			t.Fatal("saved by a broken store")
		}
		a.store.mu.Lock()
		a.store.fail = nil
		a.store.mu.Unlock()
		w.until(maxSaveRetry+5*time.Second, "saved", func() bool { return len(a.store.all()) == 1 }, a)
	})
}

// busyStore is in a save when the process ends.
type busyStore struct {
	*fakeStore
	busy bool
}

func (s *busyStore) SaveNodes(ctx context.Context, ns []core.Node) error {
	if s.busy {
		s.busy = false
		<-ctx.Done()
		return ctx.Err()
	}
	return s.fakeStore.SaveNodes(ctx, ns)
}

func TestShutdownWithinASaveIsNoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var said bytes.Buffer
		store := &busyStore{&fakeStore{nodes: map[core.NodeID]core.Node{}}, true}
		w.put(addr(1), identity(1))
		a := w.node(0, seeds(addr(1)), func(o *Options) {
			o.Store, o.Log = store, hclog.New(&hclog.LoggerOptions{Output: &said, Level: hclog.Warn})
		})
		w.pass(2*time.Second, a)
		a.stop()
		if len(store.all()) != 1 || said.Len() > 0 {
			t.Errorf("saved %d nodes, want 1; said %q, want nothing", len(store.all()), said.String())
		}
	})
}

func TestShutdownSavesLastSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.pair()
		w.pass(2*time.Minute, a)
		a.stop()
		saved := a.store.all()
		if len(saved) != 1 || time.Since(saved[0].LastSeen) > interval*12/10 {
			t.Errorf("got %+v, want it as it was seen last", saved)
		}
	})
}

func TestSharedVersionMovesWithWhatPeersSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, h := w.pair()
		_, first := a.mesh.Shared()
		w.pass(10*time.Minute, a)
		if _, v := a.mesh.Shared(); v != first {
			t.Errorf("version moved from %d to %d with nothing new", first, v)
		}
		w.change(func() { h.down = true })
		w.until(2*interval, "suspect", a.is(1, core.StateSuspect), a)
		if ns, v := a.mesh.Shared(); v != first || len(ns) != 1 {
			t.Error("a suspect is still active, yet the version moved")
		}
		w.until(5*time.Second, "down", a.is(1, core.StateDown), a)
		if ns, v := a.mesh.Shared(); v == first || len(ns) != 0 {
			t.Errorf("got %d nodes, version %d, after it went down", len(ns), v)
		}
	})
}
