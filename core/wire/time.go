package wire

import "time"

// utc brings t into the form that is sent. A year that RFC 3339 cannot write
// becomes the zero time.
func utc(t time.Time) time.Time {
	t = t.UTC()
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}
	}
	return t
}

// storable tells that t is zero or within the years that every store can keep:
// nanoseconds in 64 bits end in 2262.
func storable(t time.Time) bool {
	return t.IsZero() || t.Unix() >= 0 && t.UTC().Year() < 2200
}

// Microseconds rounds up, so that something measured is never 0.
func Microseconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d + time.Microsecond - 1) / time.Microsecond)
}
