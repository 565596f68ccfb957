package membership

import (
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// Trust is what a first contact means.
type Trust string

// The modes of trust.
const (
	// TrustOpen records keys; who comes later with another one takes over.
	TrustOpen Trust = "open"
	// TrustTOFU pins the key of the first contact; another one is quarantined.
	TrustTOFU Trust = "tofu"
)

const (
	// maxEndpoints of one node: two families on a few interfaces, and a name.
	maxEndpoints = 8
	// sharedIntervals: who was not seen for so long is not passed on, so the
	// dead do not come back by hearsay.
	sharedIntervals = 3
	// maxPace is the longest pause between polls of a peer that is down.
	maxPace = 10 * time.Minute
	// leftPace is for peers that said goodbye: they will call when they are back.
	leftPace = time.Hour
	// expireAfter forgets inactive peers; those of seed.json never.
	expireAfter = 7 * 24 * time.Hour
	// farewell is how long a leaving node may still answer while it shuts down.
	farewell = 30 * time.Second
)

// verdict is what a proven identity at an endpoint means.
type verdict int

const (
	refuse    verdict = iota // not admitted
	isSelf                   // the endpoint is self's own
	isClone                  // self's key runs elsewhere
	isKnown                  // another way to a known node
	isRenamed                // a known node, by its key, with a new id
	isRekeyed                // a known id with a new key: the newcomer takes over
	isOwner                  // the proven owner of an id that another one claimed
	isNew                    // a node to admit
)

// contact is what judge looks at: who answered, and whom that concerns.
type contact struct {
	trust Trust
	self  core.Self
	who   core.Identity
	// byKey and byID are the known nodes with that key and that id; holder is the
	// one whose current endpoint it is. Each may be nil.
	byKey, byID, holder *core.Node
}

// judge decides what the identity at an endpoint means; why is told on refusal.
// The key decides before the id: a key cannot be claimed.
func judge(c contact) (v verdict, why string) {
	who := c.who
	switch {
	case who.Key.IsZero():
		return refuse, "showed no key"
	case who.Key == c.self.Key:
		if who.BootID != "" && c.self.BootID != "" && who.BootID != c.self.BootID {
			return isClone, ""
		}
		return isSelf, ""
	case who.ID == c.self.ID:
		return refuse, "claims the id of this node"
	case c.trust == TrustTOFU && c.holder != nil && !c.holder.Key.IsZero() && c.holder.Key != who.Key:
		return refuse, "its address is pinned to another key"
	case c.byKey != nil:
		if !who.ID.IsZero() && who.ID != c.byKey.ID && !c.byKey.Proven && c.byID == nil {
			return isRenamed, ""
		}
		return isKnown, ""
	case who.ID.IsZero():
		return refuse, "told no id"
	case c.byID == nil:
		return isNew, ""
	case c.byID.Key.IsZero():
		return isRekeyed, ""
	case proven(who):
		return isOwner, ""
	case c.byID.Proven:
		return refuse, "claims an id that follows from another key"
	case c.trust == TrustTOFU:
		return refuse, "claims an id that is pinned to another key"
	default:
		return isRekeyed, ""
	}
}

// proven tells that the id follows from the key.
func proven(who core.Identity) bool { return who.Key.NodeID() == who.ID }

// sameNode tells that who is the known node n. The key decides; a record
// without one is as old as its id.
func sameNode(n core.Node, who core.Identity) bool {
	if n.Key.IsZero() {
		return n.ID == who.ID
	}
	return n.Key == who.Key
}

// addEndpoint puts e into at: in front when it is the one that works, else
// behind. The last one gives way when there are too many. at is not changed.
func addEndpoint(at []core.Endpoint, e core.Endpoint, first bool) []core.Endpoint {
	if i := slices.Index(at, e); i == 0 || i > 0 && !first {
		return at
	}
	rest := dropEndpoint(at, e)
	if first {
		return append([]core.Endpoint{e}, rest[:min(len(rest), maxEndpoints-1)]...)
	}
	return append(slices.Clone(rest[:min(len(rest), maxEndpoints-1)]), e)
}

// dropEndpoint is at without e. at is not changed.
func dropEndpoint(at []core.Endpoint, e core.Endpoint) []core.Endpoint {
	return slices.DeleteFunc(slices.Clone(at), func(x core.Endpoint) bool { return x == e })
}

// nextPace is the pause after one more miss of a peer that is down: one
// interval, then double each time, 10 minutes at most.
func nextPace(pace, interval time.Duration) time.Duration {
	return min(max(2*pace, interval), max(maxPace, interval))
}

// expired tells that a node is to be forgotten. A node that self has not tried
// since its own start is not: self was away, not the node.
func expired(n core.Node, tried bool, now time.Time) bool {
	return !n.Seed && !n.State.Active() && tried && now.Sub(n.LastSeen) > expireAfter
}

// returned tells that a node that said goodbye is back: it runs anew, or it
// has called again after the time that a shutdown takes.
func returned(n core.Node, who core.Identity, trig core.Trigger, now time.Time) bool {
	return who.BootID != n.BootID || trig == core.TriggerDiscovery && now.Sub(n.Since) > farewell
}

// fresh tells that a node was seen lately enough to be passed on.
func fresh(n core.Node, interval time.Duration, now time.Time) bool {
	return n.State.Active() && now.Sub(n.LastSeen) <= sharedIntervals*interval
}

// sighting is one answer of a key: which run of the process gave it, and where.
type sighting struct {
	boot string
	at   core.Endpoint
	when time.Time
}

// conflicting tells that one key runs twice: the newest answers, oldest first,
// went from one boot id to another and back, at different endpoints, within
// the given time. A restart, even at a new address, never goes back.
func conflicting(seen []sighting, within time.Duration) bool {
	if len(seen) == 0 {
		return false
	}
	last := seen[len(seen)-1]
	other := false
	for i := len(seen) - 2; i >= 0; i-- {
		s := seen[i]
		switch {
		case last.when.Sub(s.when) > within:
			return false
		case s.boot != last.boot && s.at != last.at:
			other = true
		case s.boot == last.boot && other:
			return true
		}
	}
	return false
}
