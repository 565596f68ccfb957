package membership

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// stored is node n as the store has it after a restart of self.
func stored(n int, s core.State) core.Node {
	return core.Node{
		ID: key(n).NodeID(), Key: key(n), Proven: true, Endpoints: []core.Endpoint{addr(n)}, BootID: identity(n).BootID,
		State: s, Since: time.Now(), FirstSeen: time.Now(), LastSeen: time.Now(),
	}
}

// A process that is killed has written its nodes and its events at different
// moments.
func TestJournalAgreesWithNodesAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(addr(1), identity(1))
		w.dead(addr(2), identity(2))
		gone := key(9).NodeID()
		self := key(0).NodeID()
		journal := &fakeJournal{open: map[string]string{}}
		var left []core.Event
		for id, kinds := range map[core.NodeID][]core.EventKind{
			key(1).NodeID(): {core.EventNodeState, core.EventNodeIdentity, core.EventConflict},
			gone:            {core.EventNodeState, core.EventNodeIdentity},
			self:            {core.EventConflict},
		} {
			for _, k := range kinds {
				left = append(left, core.Event{Kind: k, Subject: id.String(), Began: time.Now()})
				journal.open[string(k)+id.String()] = ""
			}
		}
		other := core.Event{Kind: core.EventPluginProblem, Subject: "dns", Began: time.Now()}
		left = append(left, other)
		journal.open[string(other.Kind)+other.Subject] = ""

		a := w.node(0, known([]core.Node{stored(1, core.StateAlive), stored(2, core.StateDown), stored(3, core.StateQuarantined)}), func(o *Options) {
			o.Journal, o.Open = journal, left
		})
		w.pass(time.Second, a)
		want := map[string]bool{
			string(core.EventNodeState) + key(2).NodeID().String():    true,
			string(core.EventNodeIdentity) + key(3).NodeID().String(): true,
			string(other.Kind) + other.Subject:                        true,
		}
		journal.mu.Lock()
		defer journal.mu.Unlock()
		for e := range journal.open {
			if !want[e] {
				t.Errorf("%s is still open", e)
			}
			delete(want, e)
		}
		for e := range want {
			t.Errorf("%s is not open", e)
		}
	})
}

func TestLeftIsPolledHourlyAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.node(0, known([]core.Node{stored(1, core.StateLeft)}))
		w.pass(24*time.Hour, a)
		if got := w.dialled(addr(1)); got < 22 || got > 27 {
			t.Errorf("polled %d times in a day, want hourly", got)
		}
	})
}

// The clock was a day ahead when the node was saved.
func TestClockSetBackBeforeARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ahead := stored(1, core.StateAlive)
		ahead.Since = time.Now().Add(24 * time.Hour)
		ahead.FirstSeen, ahead.LastSeen = ahead.Since, ahead.Since
		w.dead(addr(1), identity(1))
		a := w.node(0, known([]core.Node{ahead}))
		w.until(2*interval, "down", a.is(1, core.StateDown), a)
	})
}

func TestNodeOfADroppedSeedMayExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var ns []core.Node
		for n := 1; n <= 3; n++ {
			s := stored(n, core.StateDown)
			s.Seed = true
			ns = append(ns, s)
		}
		a := w.node(0, known(ns), seeds(addr(1)), func(o *Options) {
			o.Seeds = append(o.Seeds, Seed{FQDN: "two.example", Port: 443, ID: key(2).NodeID()})
		})
		w.pass(8*24*time.Hour, a)
		for n, kept := range map[int]bool{1: true, 2: true, 3: false} {
			if _, ok := a.mesh.Node(key(n).NodeID()); ok != kept {
				t.Errorf("node %d: known is %t after eight days, want %t", n, ok, kept)
			}
		}
	})
}
