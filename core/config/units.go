package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	day = 24 * time.Hour
	// maxDays is a hundred years: the sum of weeks and days stays far from overflow.
	maxDays = 36500
)

var bareNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// parseDuration reads Go's syntax preceded by weeks and days: "30s", "1h30m",
// "36h", "7d", "2w3d".
func parseDuration(s string) (time.Duration, error) {
	if bareNumber.MatchString(s) {
		return 0, fmt.Errorf("%.40q has no unit; write %.40q, or another of ms, s, m, h, d, w", s, s+"s")
	}
	total, rest, err := leadingDays(s)
	if err == nil && rest != "" {
		var d time.Duration
		d, err = time.ParseDuration(rest)
		if d < 0 || d > math.MaxInt64-total {
			err = errors.New("out of range")
		}
		total += d
	}
	if err != nil || s == "" || strings.ContainsAny(s, "+-") {
		return 0, fmt.Errorf(`%.40q is not a duration; want one such as "30s", "5m", "36h" or "7d"`, s)
	}
	return total, nil
}

// leadingDays takes the weeks and days off the front of a duration.
func leadingDays(s string) (total time.Duration, rest string, err error) {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"w", 7 * day}, {"d", day}} {
		num, after, found := strings.Cut(s, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(num, 10, 32)
		if err != nil {
			return 0, "", err
		}
		if n > uint64(maxDays*day/unit.d) {
			return 0, "", errors.New("out of range")
		}
		total += time.Duration(n) * unit.d
		s = after
	}
	return total, s, nil
}

// formatDuration writes what parseDuration reads, without needless parts.
func formatDuration(d time.Duration) string {
	if d >= 2*day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if d%time.Minute == 0 && d != 0 {
		s = strings.TrimSuffix(s, "0s")
	}
	if d%time.Hour == 0 && d != 0 {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var sizePattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$`)

// sizeUnits from large to small, so that the first that divides a size gives
// the shortest number.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40},
	{"TB", 1e12},
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"kB", 1e3},
	{"KB", 1e3},
	{"B", 1},
}

// parseSize reads a number of bytes with its unit: "10MB", "64MiB".
func parseSize(s string) (int64, error) {
	if bareNumber.MatchString(s) {
		return 0, fmt.Errorf("%.40q has no unit; write %.40q, or another of B, kB, MB, GB, KiB, MiB, GiB", s, s+"MB")
	}
	if m := sizePattern.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		for _, u := range sizeUnits {
			// 1 PB is beyond any disk that this is meant for, and far from overflow.
			if u.name == m[2] && err == nil && n*float64(u.bytes) <= 1e15 {
				return int64(n * float64(u.bytes)), nil
			}
		}
	}
	return 0, fmt.Errorf(`%.40q is not a size; want one such as "10MB" or "64MiB"`, s)
}

// formatSize writes what parseSize reads.
func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return "0B"
}
