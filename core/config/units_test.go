package config

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "1h30m": 90 * time.Minute, "36h": 36 * time.Hour, "7d": 7 * day, "2w3d4h": 17*day + 4*time.Hour,
		"1.5s": 1500 * time.Millisecond, "250ms": 250 * time.Millisecond, "0s": 0, "36500d": 36500 * day, "10us": 10 * time.Microsecond,
	} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
		if back, err := parseDuration(formatDuration(got)); err != nil || back != got {
			t.Errorf("%s: formatted as %s, read as %s, %v", text, formatDuration(got), back, err)
		}
	}
	for _, text := range []string{"", "30", "1.5", "5 s", "s", "d", "-5s", "+5s", "1d-5s", "h7d", "36h7d", "1.5d", "9000w", "5000w99999999h", "99999999999999999999h", "1e3s", "d5s", "1w1w"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
	for d, want := range map[time.Duration]string{
		30 * time.Second: "30s", 90 * time.Second: "1m30s", 5 * time.Minute: "5m", 24 * time.Hour: "24h", 30 * day: "30d", time.Hour + time.Second: "1h0m1s", 0: "0s",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"10MB": 10_000_000, "64MiB": 64 << 20, "1.5GB": 1_500_000_000, "0B": 0, "7B": 7, "1 kB": 1000, "1KB": 1000, "2TiB": 2 << 40, "1.1MB": 1_100_000,
	} {
		got, err := parseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", text, got, err, want)
		}
		if back, err := parseSize(formatSize(got)); err != nil || back != got {
			t.Errorf("%s: formatted as %s, read as %d, %v", text, formatSize(got), back, err)
		}
	}
	for _, text := range []string{"", "10", "MB", "-1MB", "10mb", "1e9B", "10 MB ", "2000TB", "99999999999999999999999GB", "1..5GB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestNearest(t *testing.T) {
	valid := []string{"interval", "timeout", "kind", "config", "log", "warn"}
	for word, want := range map[string]string{
		"intervall": "interval", "Timeout": "timeout", "tmeout": "timeout", "kidn": "kind", "cfg": "", "x": "", "": "", "unrelated": "",
		"foo": "", "lag": "", "LOG": "log", "band": "", "warning": "warn", "inter": "interval", "configs": "config",
	} {
		if got := nearest(word, valid); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
