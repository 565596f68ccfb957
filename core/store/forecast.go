package store

import "time"

// Forecast is what fits into MaxBytes in the long run, raw results giving way to
// all else.
type Forecast struct {
	// RawPerDay and RollupPerDay are bytes; Rest is what all else takes.
	RawPerDay, RollupPerDay, Rest int64
	// Raw and Rollup are how long single results and hourly sums can be kept: as
	// long as they are to be, or as there is room.
	Raw, Rollup time.Duration
}

// What a mesh takes, as measured over a simulated month: a run with its metrics,
// and what it takes more before it is packed; a
// path in an hour of roll-ups, a pair of the matrix for as long as it is kept and
// as its peer told it last (bare when there is no room for its metrics), a peer
// and the names and latest results of a path to it, and the empty database.
const (
	estimateRun   = 5.7
	estimateFresh = 47
	estimateSum   = 12.5
	estimatePair  = 14
	estimateTold  = 6
	estimateBare  = 3.2
	estimatePeer  = 400
	estimatePath  = 650
	estimateEmpty = 250_000
	rollupsPerRaw = 20 // until there are some, of a day
	floorRaw      = time.Hour
	// forecastLeast of results tell a rate: the first hour counts as a whole one.
	forecastLeast  = 3 * time.Hour
	nanosecondsDay = float64(24 * time.Hour)
)

// Estimate is what a mesh takes that has as many peers, each probed at these
// intervals. It needs no database: of o only MaxBytes, Raw and Rollup count.
func Estimate(peers int, intervals []time.Duration, o Options) Forecast {
	o = o.withDefaults()
	var runs float64
	for _, every := range intervals {
		if every > 0 {
			runs += nanosecondsDay / float64(every)
		}
	}
	paths := int64(peers * len(intervals))
	told := float64(min(paths, maxPairs)) * float64(peers)
	views, share := int64(estimateTold*told), o.MaxBytes/viewShare
	if views > share {
		views = min(int64(estimateBare*told), share)
	}
	rest := estimateEmpty + estimatePeer*int64(peers) + estimatePath*paths + min(estimatePair*paths*int64(peers), o.MaxBytes/matrixShare) + views
	rest += int64(estimateFresh * runs * float64(peers) * float64(packEvery) / nanosecondsDay)
	return o.forecast(int64(estimateRun*runs*float64(peers)), int64(estimateSum*dayHours*float64(paths)), rest)
}

// forecast shares out the room: what roll-ups leave is for raw results, but for
// their newest hour, which stays whatever happens.
func (o Options) forecast(raw, rollup, rest int64) Forecast {
	f := Forecast{RawPerDay: raw, RollupPerDay: rollup, Rest: rest, Raw: o.Raw, Rollup: o.Rollup}
	room := float64(max(0, o.MaxBytes-o.headroom()-rest))
	share := func(bytes float64, perDay int64, most time.Duration) time.Duration {
		if perDay == 0 || bytes/float64(perDay)*nanosecondsDay >= float64(most) {
			return most
		}
		return time.Duration(max(0, bytes) / float64(perDay) * nanosecondsDay)
	}
	least := float64(raw) * float64(floorRaw) / nanosecondsDay
	f.Rollup = share(room-least, rollup, o.Rollup)
	f.Raw = share(room-float64(rollup)*float64(f.Rollup)/nanosecondsDay, raw, o.Raw)
	return f
}

// headroom of the limit is for the WAL, which after a checkpoint has what the
// largest transaction wrote, and for what comes in between two looks: 0.39 MB at
// 10 MB and 100 peers, 3.2 MB at 64 MB and 1,000, as simulated.
func (o Options) headroom() int64 { return max(400_000, o.MaxBytes*7/100-100_000) }

// forecastOf is what st says, of results between two times, ms; zero as long as
// these are too few to tell.
func (o Options) forecastOf(st Stats, newest int64) Forecast {
	if st.Oldest.IsZero() || time.UnixMilli(newest).Sub(st.Oldest) < forecastLeast {
		return Forecast{}
	}
	rollup := st.RawPerDay / rollupsPerRaw
	// Today has no roll-ups yet.
	today := time.UnixMilli(newest).Truncate(24 * time.Hour)
	if age := today.Sub(st.OldestRollup); !st.OldestRollup.IsZero() && age > 0 {
		rollup = int64(float64(st.Space.Rollup) / float64(age) * nanosecondsDay)
	}
	return o.forecast(st.RawPerDay, rollup, st.Space.Matrix+st.Space.Events+st.Space.Other)
}
