package plugins

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

type countBytes = atomic.Uint64

func quiet() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Level: hclog.Off}) }

func TestLogsAreRelevelled(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       []string
	}{
		{"hclog", `{"@level":"warn","@message":"slow\u001b","@module":"dns","@timestamp":"x","server":"a\nb"}`, []string{`"@level":"warn"`, `"@message":"slow "`, `"module":"dns"`, `"server":"a b"`, `"plugin":"p"`}},
		{"plain", "hello", []string{`"@level":"debug"`, `"line":"hello"`}},
		{"panic", "panic: boom", []string{`"@level":"error"`, `"line":"panic: boom"`}},
		{"no level", `{"@message":"m"}`, []string{`"@level":"debug"`}},
		{"other JSON", `{"a":1}`, []string{`"@level":"debug"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out logBuffer
			log := hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug, JSONFormat: true}).With("plugin", "p")
			s := newLogSink(log, 1000, new(countBytes))
			for _, part := range []string{tt.line[:len(tt.line)/2], tt.line[len(tt.line)/2:], "\n"} {
				if _, err := s.Write([]byte(part)); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got %s, want %s in it", out.String(), want)
				}
			}
		})
	}
}

func TestLastWords(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"last line", "first\nsecond\n\n", "second"},
		{"no newline", "first\nsecond", "second"},
		{"debug lines do not count", "cause\n{\"@level\":\"debug\",\"@message\":\"plugin address\"}\n", "cause"},
		{"error lines do", "x\n{\"@level\":\"error\",\"@message\":\"open\",\"error\":\"denied\"}\n", "open: denied"},
		{"panic with a long trace", "x\npanic: boom\n" + strings.Repeat("goroutine 1 [running]\n", 1000), "panic: boom"},
		{"signal", "x\nSIGQUIT: quit\nPC=0x1 m=0 sigcode=0\n" + strings.Repeat("goroutine 1 [running]\n", 1000) + "gs     0x0\n", "SIGQUIT: quit"},
		{"cut line", strings.Repeat("y", 5000) + "\nz", "z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newLogSink(quiet(), 1000, new(countBytes))
			if _, err := s.Write([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			if got := s.lastWords(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The warning is one for a flood, not one for every line that the refill lets
// through.
func TestFloodIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logBuffer
		log := hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug})
		dropped := new(countBytes)
		s := newLogSink(log, 60_000, dropped)
		line := []byte(strings.Repeat("x", 99) + "\n")
		write := func(seconds int) {
			for range seconds * 100 { // ten times as much as may be logged
				_, _ = s.Write(line)
				time.Sleep(10 * time.Millisecond)
			}
		}
		write(30)
		if got := strings.Count(out.String(), "logs too much"); got < 1 || got > 3 {
			t.Errorf("got %d warnings in a flood of 30 s, want a few", got)
		}
		if got := strings.Count(out.String(), "plugin wrote"); got < 600 || got > 900 {
			t.Errorf("got %d lines, want 60 kB at once and 1 kB a second", got)
		}
		time.Sleep(time.Minute)
		before := dropped.Load()
		write(1)
		if dropped.Load() != before {
			t.Error("lines are dropped long after the flood")
		}
	})
}

func TestBucket(t *testing.T) {
	b := newBucket(600)
	start := b.last
	for _, tt := range []struct {
		after time.Duration
		n     int
		want  bool
	}{{0, 600, true}, {0, 1, false}, {time.Second, 10, true}, {time.Second, 1, false}, {time.Hour, 600, true}, {time.Hour, 1, false}} {
		if got := b.take(tt.n, start.Add(tt.after)); got != tt.want {
			t.Errorf("after %v, %d bytes: got %v, want %v", tt.after, tt.n, got, tt.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	var o Tunables
	o.setDefaults()
	for _, tt := range []struct {
		failures int
		most     time.Duration
	}{{1, 100 * time.Millisecond}, {2, 200 * time.Millisecond}, {4, 800 * time.Millisecond}, {9, 25600 * time.Millisecond}, {10, 30 * time.Second}, {1 << 30, 30 * time.Second}} {
		for range 100 {
			if got := backoff(tt.failures, &o); got > tt.most || got < tt.most/2-1 {
				t.Errorf("%d failures: got %v, want %v to %v", tt.failures, got, tt.most/2, tt.most)
			}
		}
	}
}
