package delivery

import (
	"math/rand/v2"
	"time"
)

const (
	// firstPause and longestPause bound the wait between attempts: the first four
	// pauses together are 7.5 s on average, as long as a receiver takes to restart;
	// the longest keeps an hour's outage from costing more than minutes of delay
	// when it is over.
	firstPause   = time.Second
	longestPause = 5 * time.Minute
	// longestRetryAfter is how far a receiver can put off the next attempt.
	longestRetryAfter = time.Hour
)

// pause is how long to wait after the nth failure in a row, n from 0: full
// jitter, uniform in [0, min(longestPause, firstPause x 2^n)).
func pause(n int) time.Duration {
	limit := longestPause
	if n < 9 { // 2^9 s is over five minutes
		limit = min(limit, firstPause<<n)
	}
	return rand.N(limit)
}

// around is d, 10 % more or less, so that nodes started together do not report
// together for ever.
func around(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
