package path

import (
	"sync"
	"time"
)

// All traces pass the same routers near this host, and each of those answers one
// probe a second to one address, after a burst of six (Linux: icmp_ratelimit).
// Asking them more finds them silent.
const (
	sharedHops  = 3
	budgetBurst = 6
	budgetEvery = time.Second
)

// icmpBudget bounds how often the nearest hops are asked more than once.
type icmpBudget struct {
	now func() time.Time

	mu   sync.Mutex            // guards below
	full [sharedHops]time.Time // when the hop's budget is whole again
}

// take takes one answer of the hop; it is false when none is left.
func (b *icmpBudget) take(ttl int) bool {
	if ttl > sharedHops {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	at := b.full[ttl-1]
	if at.Before(now) {
		at = now
	}
	if at.Sub(now) > (budgetBurst-1)*budgetEvery {
		return false
	}
	b.full[ttl-1] = at.Add(budgetEvery)
	return true
}
