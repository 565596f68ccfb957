package sdk

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Answer is what the host gets of one run. It is for hosts and tests; authors
// return a [Result] and an error.
type Answer struct {
	// JobID is the number that the host gave to the job.
	JobID   uint64
	Outcome Outcome
	// Reason and Message are empty on success.
	Reason  Reason
	Message string
	// Started is by the plugin's clock; zero when the run never began.
	Started time.Time
	Took    time.Duration
	Result  Result
}

const maxMessageText = 256

// cleanText is s as valid UTF-8 without control characters, cut at limit bytes on
// a rune's edge. It returns s itself when nothing is to be done.
func cleanText(s string, limit int) string {
	if !isClean(s) {
		s = strings.Map(func(r rune) rune {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(s, "?"))
	}
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func isClean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
