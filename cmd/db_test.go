package cmd

import (
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core/store"
)

// What is packed is known by the hour and the day only: a node is not older than it is.
func TestDatabaseTable(t *testing.T) {
	at := time.Date(2026, 11, 26, 4, 43, 42, 0, time.UTC)
	hour, day := at.Truncate(time.Hour), at.Truncate(24*time.Hour)
	d := dbStats{Rows: 150, Space: dbSpace{Raw: 236, Tail: 1380}, RawSince: &hour, RollupSince: &day}
	var b strings.Builder
	dbTable(&b, d, store.Forecast{})
	for _, want := range []string{
		"150 rows: 236 bytes packed, 1380 bytes not yet\tsince " + hour.Local().Format(time.DateTime) + " (to the hour)",
		"since " + day.Local().Format(time.DateTime) + " (to the day)",
		"matrix\t0 bytes\tnone",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got %s, want %q in it", b.String(), want)
		}
	}
	if got, want := sinceText(&at, "the hour"), "since "+at.Local().Format(time.DateTime); got != want {
		t.Errorf("of results not packed yet: got %q, want %q", got, want)
	}
}
