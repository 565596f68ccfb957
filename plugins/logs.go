package plugins

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	tailBytes    = 4 << 10 // of stderr, kept for the problem sentence
	unmutePart   = 4       // of a minute's bytes: a flood is told of four times a minute at most
	maxLogLine   = 8 << 10 // longer lines are logged in pieces
	alarmPrefix1 = "panic: "
	alarmPrefix2 = "fatal error: "
	alarmPrefix3 = "runtime: out of memory"
	alarmPrefix4 = "SIG" // SIGQUIT: quit
)

// logSink takes what a process writes to stderr: it keeps the end of it, passes
// lines on to the host's log at their own level, and over the rate limit only
// counts. Its Write never fails and never waits for anything but the log.
type logSink struct {
	log     hclog.Logger
	dropped *atomic.Uint64

	mu      sync.Mutex // guards below
	tail    []byte
	alarm   string // first line of a panic, or a signal: the trace after it can be long
	partial []byte
	bucket  bucket
	muted   bool
}

func newLogSink(log hclog.Logger, perMinute int, dropped *atomic.Uint64) *logSink {
	return &logSink{log: log, dropped: dropped, bucket: newBucket(perMinute)}
}

// Write implements io.Writer.
func (s *logSink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked(p)
	for rest := p; len(rest) > 0; {
		line, after, found := bytes.Cut(rest, []byte{'\n'})
		rest = after
		if len(s.partial) > 0 || !found {
			s.partial = append(s.partial, line...)
			if !found && len(s.partial) < maxLogLine {
				break
			}
			line = s.partial
		}
		s.lineLocked(line)
		s.partial = s.partial[:0]
	}
	return len(p), nil
}

func (s *logSink) keepLocked(p []byte) {
	if len(p) >= tailBytes {
		s.tail = append(s.tail[:0], p[len(p)-tailBytes:]...)
		return
	}
	if over := len(s.tail) + len(p) - tailBytes; over > 0 {
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
	s.tail = append(s.tail, p...)
}

func (s *logSink) lineLocked(line []byte) {
	if s.alarm == "" && isAlarm(line) {
		s.alarm = string(line[:min(len(line), 512)])
	}
	now := time.Now()
	if s.muted && s.bucket.level(now) < s.bucket.size/unmutePart {
		s.dropped.Add(uint64(len(line) + 1))
		return
	}
	s.muted = !s.bucket.take(len(line)+1, now)
	if s.muted {
		s.dropped.Add(uint64(len(line) + 1))
		s.log.Warn("plugin logs too much; what comes now is dropped and counted")
		return
	}
	relog(s.log, line)
}

func isAlarm(line []byte) bool {
	return bytes.HasPrefix(line, []byte(alarmPrefix1)) || bytes.HasPrefix(line, []byte(alarmPrefix2)) ||
		bytes.HasPrefix(line, []byte(alarmPrefix3)) || bytes.HasPrefix(line, []byte(alarmPrefix4))
}

// lastWords is the line that most likely tells why the process ended; may be empty.
func (s *logSink) lastWords() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alarm != "" {
		return s.alarm
	}
	lines := strings.Split(string(s.tail), "\n")
	if len(s.tail) == tailBytes {
		lines = lines[1:] // its beginning is lost
	}
	for i := len(lines) - 1; i >= 0; i-- {
		if words := telling(strings.TrimSpace(lines[i])); words != "" {
			return words
		}
	}
	return ""
}

// bucket is a token bucket of bytes: a minute's worth at once, refilled evenly.
type bucket struct {
	size, left float64
	last       time.Time
}

func newBucket(perMinute int) bucket {
	return bucket{size: float64(perMinute), left: float64(perMinute), last: time.Now()}
}

// level is how many bytes may be taken now.
func (b *bucket) level(now time.Time) float64 {
	b.left = min(b.size, b.left+now.Sub(b.last).Minutes()*b.size)
	b.last = now
	return b.left
}

func (b *bucket) take(n int, now time.Time) bool {
	if b.level(now) < float64(n) {
		return false
	}
	b.left -= float64(n)
	return true
}
