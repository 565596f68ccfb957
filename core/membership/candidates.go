package membership

import (
	"cmp"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	// maxCandidates in all; when it is full, the oldest that failed goes.
	maxCandidates = 4096
	// maxPerSource: so many of a source's candidates may be unproven per hour.
	// One that proves to be a node does not count, so the honest are not slowed.
	maxPerSource = 64
	sourceWindow = time.Hour
	// redialAfter spares an unverified address: nobody can make the mesh
	// hammer a third party by naming it.
	redialAfter    = 10 * time.Minute
	maxRedialAfter = time.Hour
	// forgetAfter: a candidate that nobody names any more.
	forgetAfter = 24 * time.Hour
	// maxSeedPause between dials of a seed that does not answer.
	maxSeedPause = time.Minute
	// unmeasuredPause after a dial that could not be made: the plugin starts.
	unmeasuredPause, maxUnmeasuredPause = 250 * time.Millisecond, 5 * time.Second
)

// The first tries of a caller follow quickly: it is there, and may just start.
var callerRetries = [...]time.Duration{2 * time.Second, 8 * time.Second, 30 * time.Second, 2 * time.Minute}

// candidate is somebody who may be a node: one or more ways to dial it.
type candidate struct {
	at []core.Endpoint // tried in turn, the first is its name
	// foundBy becomes Node.DiscoveredBy; source is whose budget it uses.
	foundBy, source string
	seed            bool
	caller          bool
	claims          core.NodeID // the id that hearsay gives it; zero: none
	want            core.NodeID // of a seed whose id the operator gave
	of              Seed        // what a seed was made from

	try        int    // which of at is next
	failures   int    // rounds through at
	why        string // what the last failure was, after the endpoint
	unmeasured int    // dials in a row that said nothing
	next       time.Time
	heard      time.Time
	dialling   bool
	dialled    time.Time
	// settled seeds turned out to be a node, or self (the zero id).
	settled bool
	node    core.NodeID
}

// endpoint is the one to dial next.
func (c *candidate) endpoint() core.Endpoint { return c.at[c.try%len(c.at)] }

// failed sets the next try: the other endpoints of the round at once, then a pause.
func (c *candidate) failed(now time.Time) {
	c.unmeasured = 0
	c.try++
	if c.try%len(c.at) != 0 {
		c.next = now
		return
	}
	c.failures++
	c.next = now.Add(c.pause())
}

// pause doubles: for a seed 1 s to a minute, else 10 minutes to an hour.
func (c *candidate) pause() time.Duration {
	switch {
	case c.seed:
		return min(time.Second<<min(c.failures-1, 16), maxSeedPause)
	case c.caller && c.failures <= len(callerRetries):
		return callerRetries[c.failures-1]
	case c.caller:
		return min(redialAfter<<min(c.failures-len(callerRetries)-1, 16), maxRedialAfter)
	default:
		return min(redialAfter<<min(c.failures-1, 16), maxRedialAfter)
	}
}

// notMeasured sets the next try after a dial that said nothing about the target.
func (c *candidate) notMeasured(now time.Time) {
	c.next = now.Add(min(unmeasuredPause<<min(c.unmeasured, 16), maxUnmeasuredPause))
	c.unmeasured++
}

// candidates is the bounded table of those who are no seeds.
type candidates struct {
	byEndpoint map[core.Endpoint]*candidate
	sources    map[string]*allowance
	dialled    map[core.Endpoint]dialled
}

// dialled is the last dial of an unverified address.
type dialled struct {
	when time.Time
	by   *candidate
}

type allowance struct {
	began time.Time
	used  int
}

func newCandidates() *candidates {
	return &candidates{
		byEndpoint: map[core.Endpoint]*candidate{},
		sources:    map[string]*allowance{},
		dialled:    map[core.Endpoint]dialled{},
	}
}

// add takes c in; false when its source's budget is used up or the table full.
// An address that was dialled lately waits, also when it was forgotten since.
func (t *candidates) add(now time.Time, c *candidate) bool {
	if !t.spend(now, c.source) {
		return false
	}
	if len(t.byEndpoint) >= maxCandidates && !t.evict() {
		t.refund(c.source)
		return false
	}
	c.next, c.heard = now, now
	if d, ok := t.dialled[c.at[0]]; ok && now.Sub(d.when) < redialAfter {
		c.next = d.when.Add(redialAfter)
	}
	t.byEndpoint[c.at[0]] = c
	return true
}

// spares tells that another candidate has led to c's next address lately, as
// when many are named with the same second one.
func (t *candidates) spares(now time.Time, c *candidate) bool {
	d, ok := t.dialled[c.endpoint()]
	return ok && d.by != c && now.Sub(d.when) < redialAfter
}

func (t *candidates) spend(now time.Time, source string) bool {
	a := t.sources[source]
	if a == nil {
		if len(t.sources) >= maxCandidates {
			return false
		}
		a = &allowance{began: now}
		t.sources[source] = a
	}
	if now.Sub(a.began) >= sourceWindow {
		*a = allowance{began: now}
	}
	if a.used >= maxPerSource {
		return false
	}
	a.used++
	return true
}

func (t *candidates) refund(source string) {
	if a := t.sources[source]; a != nil && a.used > 0 {
		a.used--
	}
}

// exhausted tells that a source may name nobody new for now.
func (t *candidates) exhausted(now time.Time, source string) bool {
	a := t.sources[source]
	return a != nil && a.used >= maxPerSource && now.Sub(a.began) < sourceWindow
}

// evict drops the one heard of longest ago, those that failed first.
func (t *candidates) evict() bool {
	var worst *candidate
	for _, c := range t.byEndpoint {
		if c.dialling {
			continue
		}
		if worst == nil || cmp.Or(-cmp.Compare(min(c.failures, 1), min(worst.failures, 1)), c.heard.Compare(worst.heard)) < 0 {
			worst = c
		}
	}
	if worst != nil {
		t.remove(worst)
	}
	return worst != nil
}

func (t *candidates) remove(c *candidate) {
	if t.byEndpoint[c.at[0]] == c {
		delete(t.byEndpoint, c.at[0])
	}
}

// prune forgets what has lapsed.
func (t *candidates) prune(now time.Time) {
	for _, c := range t.byEndpoint {
		if !c.dialling && now.Sub(c.heard) > forgetAfter {
			t.remove(c)
		}
	}
	for source, a := range t.sources {
		if now.Sub(a.began) >= sourceWindow {
			delete(t.sources, source)
		}
	}
	for e, d := range t.dialled {
		if now.Sub(d.when) >= redialAfter {
			delete(t.dialled, e)
		}
	}
}

// due is whose turn has come, the longest waiting first, and when the next
// one's will.
func (t *candidates) due(now time.Time) (ready []*candidate, next time.Time) {
	for _, c := range t.byEndpoint {
		switch {
		case c.dialling:
		case !c.next.After(now):
			ready = append(ready, c)
		case next.IsZero() || c.next.Before(next):
			next = c.next
		}
	}
	slices.SortFunc(ready, func(a, b *candidate) int { return a.next.Compare(b.next) })
	return ready, next
}

const (
	// maxDialling candidates at once.
	maxDialling = 32
	// Failed dials of candidates: so many at once, then so many a second. A dial
	// that finds a node is free.
	dialBurst = 64
	dialRate  = 2.0
)

// budget is a token bucket for dials.
type budget struct {
	tokens float64
	filled time.Time
}

// spend takes a token; false when there is none, with the wait for one.
func (b *budget) spend(now time.Time) (wait time.Duration, ok bool) {
	b.tokens = min(dialBurst, b.tokens+now.Sub(b.filled).Seconds()*dialRate)
	b.filled = now
	if b.tokens < 1 {
		missing := time.Duration((1 - b.tokens) / dialRate * float64(time.Second))
		return missing + time.Millisecond, false // what is lost in rounding must not spin
	}
	b.tokens--
	return 0, true
}

func (b *budget) refund() { b.tokens = min(dialBurst, b.tokens+1) }
