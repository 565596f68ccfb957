package cmd

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestLines(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC)
	for format, want := range map[string]string{
		formatCSV:   "at,text,rtt_us,metrics\n" + `2026-01-31T12:00:00.005Z,"a ""b"", c",12,"{""loss_ratio"":0.5}"` + "\n,,,\n",
		formatLines: `{"at":"2026-01-31T12:00:00.005Z","text":"a \"b\", c","rtt_us":12,"metrics":{"loss_ratio":0.5}}` + "\n" + `{"at":null,"text":"","rtt_us":null,"metrics":{}}` + "\n",
	} {
		var b bytes.Buffer
		l := newLines(bufio.NewWriter(&b), format, &progress{})
		l.header("at", "text", "rtt_us", "metrics")
		for _, cells := range [][]any{
			{at, `a "b", c`, rtt(12 * time.Microsecond), []core.Metric{{Name: "loss_ratio", Value: 0.5}}}, {time.Time{}, "", rtt(0), []core.Metric(nil)},
		} {
			if err := l.write(cells...); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.flush(); err != nil || b.String() != want {
			t.Errorf("%s: got %s, %v, want %s", format, b.String(), err, want)
		}
	}
}

func TestExportWords(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	good := exportFlags{kind: kindResults, format: formatCSV, node: "0A0A0A0A-0000-8000-8000-000000000001", since: "7d", until: "90m"}
	q, err := good.query(now)
	if err != nil || q.Node != strings.ToLower(good.node) || !q.From.Equal(now.Add(-7*24*time.Hour)) || !q.To.Equal(now.Add(-90*time.Minute)) {
		t.Errorf("got %+v, %v", q, err)
	}
	for want, change := range map[string]func(*exportFlags){
		`--kind "x": want one of results, rollups, events, nodes, matrix`:                              func(f *exportFlags) { f.kind = "x" },
		`--output "table": want csv or jsonl`:                                                          func(f *exportFlags) { f.format = "table" },
		`--node: node id "x": want a UUID of 36 characters`:                                            func(f *exportFlags) { f.node = "x" },
		`--since "yesterday": want a time such as 2026-01-31T12:00:00Z, or how long ago: 90m, 24h, 7d`: func(f *exportFlags) { f.since = "yesterday" },
		`--until "-1h": want a time such as 2026-01-31T12:00:00Z, or how long ago: 90m, 24h, 7d`:       func(f *exportFlags) { f.until = "-1h" },
		"--since must be before --until":                                                               func(f *exportFlags) { f.since = "1h" },
		"--probe: events are of no probe":                                                              func(f *exportFlags) { f.kind, f.probe = kindEvents, "https" },
		"--since, --until: nodes are as they are known now":                                            func(f *exportFlags) { f.kind = kindNodes },
	} {
		f := good
		change(&f)
		if _, err := f.query(now); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
