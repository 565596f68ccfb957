package core

import (
	"maps"
	"math/bits"
	"time"
)

// EngineStats are counters since the start, and the state of the moment.
type EngineStats struct {
	// Runs counts jobs made; Skipped turns not taken because the last job still
	// ran; Dropped results that the store never took; Lost jobs without a
	// result; Stray results without a job.
	Runs, Skipped, Dropped, Lost, Stray uint64
	// InFlight jobs have no result yet; Unsaved results are not committed yet.
	InFlight, Unsaved int
	Peers, Probes     int
	// Outcomes counts results by probe and outcome.
	Outcomes map[RunKind]uint64
	// LatenessMax and LatenessP99 tell how long after their turn jobs were
	// made, over the last 3 to 6 minutes. P99 is an upper bound within a factor of 2.
	LatenessMax, LatenessP99 time.Duration
	// LastTick is when the scheduler last ran: at most 10 s ago when it is well.
	LastTick time.Time
}

// RunKind is how a run of a probe ended.
type RunKind struct {
	Probe   string
	Outcome Outcome
}

// Stats is a snapshot.
func (e *Engine) Stats() EngineStats {
	waiting, dropped := e.saver.unsaved()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.counts
	s.Outcomes = maps.Clone(e.counts.Outcomes)
	s.Skipped, s.Dropped = e.schedule.skipped, dropped
	s.InFlight, s.Unsaved = len(e.flights), waiting
	s.Peers, s.Probes = len(e.schedule.peers), len(e.schedule.probes)
	s.LatenessMax, s.LatenessP99 = e.lateness.read(time.Now())
	return s
}

// Storage is how the history stands.
type Storage struct {
	// Bytes of the database; it is kept below MaxBytes.
	Bytes, MaxBytes int64
	// Results, Sums and Matrix are when the oldest single results, hourly sums and
	// rows of peers' matrices began that are kept; zero when there are none.
	Results, Sums, Matrix time.Time
	// RawPerDay is the bytes that a day of single results takes; 0 in the first
	// three hours.
	RawPerDay int64
	// Raw and Rollup are how long single results and hourly sums are to be kept,
	// RawFits and RollupFits how long they can be in MaxBytes at the present rate.
	Raw, RawFits, Rollup, RollupFits time.Duration
	// Dropped counts rows that went before their time because of MaxBytes, since
	// the process began; LastDrop is when the last did, Drops by kind.
	Dropped  uint64
	LastDrop time.Time
	Drops    map[string]time.Time
}

// The kinds of what goes before its time because of MaxBytes.
const (
	DropRaw       = "raw results"
	DropRollup    = "hourly sums"
	DropMatrix    = "matrix"
	DropDocuments = "documents"
	DropReports   = "reports"
	DropEvents    = "events"
)

// DropKinds are all of them.
func DropKinds() []string {
	return []string{DropRaw, DropRollup, DropMatrix, DropDocuments, DropReports, DropEvents}
}

// StorageCounts is what can be told of the history when it can be neither read
// nor written; the numbers are since the process began.
type StorageCounts struct {
	// Failing: the last transaction was not written. Paused: because the disk is
	// full; it goes on when there is room.
	Failing, Paused bool
	// Results were saved, in Commits transactions; Failed ones were not written.
	// Mishaps happened to the database file: it was corrupt, deleted or replaced.
	Results, Commits, Failed, Mishaps uint64
	// Dropped counts rows that went before their time, by kind.
	Dropped map[string]uint64
}

// latenessWindow is the time after which a window becomes the one before.
const latenessWindow = 3 * time.Minute

// lateness is a histogram of two windows. Bucket i holds what is below 2^i us.
type lateness struct {
	now, before latenessCounts
	began       time.Time
}

type latenessCounts struct {
	counts [32]uint32
	max    time.Duration
}

func (l *lateness) add(at time.Time, late time.Duration) {
	l.turn(at)
	bucket := bits.Len64(uint64(max(late, 0) / time.Microsecond))
	l.now.counts[min(bucket, len(l.now.counts)-1)]++
	l.now.max = max(l.now.max, late)
}

// turn forgets windows that are over.
func (l *lateness) turn(at time.Time) {
	switch age := at.Sub(l.began); {
	case age < latenessWindow:
		return
	case age < 2*latenessWindow:
		l.before = l.now
	default:
		l.before = latenessCounts{}
	}
	l.now = latenessCounts{}
	l.began = at
}

func (l *lateness) read(at time.Time) (worst, p99 time.Duration) {
	l.turn(at)
	var total, sum uint32
	for i := range l.now.counts {
		total += l.now.counts[i] + l.before.counts[i]
	}
	worst = max(l.now.max, l.before.max)
	for i := range l.now.counts {
		sum += l.now.counts[i] + l.before.counts[i]
		if total > 0 && sum >= total-total/100 {
			return worst, min(time.Microsecond<<i, worst)
		}
	}
	return worst, 0
}
