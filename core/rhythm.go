package core

import (
	"encoding/binary"
	"hash/fnv"
	"time"
)

// rhythm is when the runs of one probe at one peer are due. Time is cut into
// slots of one interval, beginning at the phase, counted from the Unix epoch:
//
//	nominal(k) = k * interval + hash mod interval
//	due(k)     = nominal(k) + jitter(k),  |jitter| <= interval / 10
//
// It follows from the names alone, so runs are spread evenly over the interval
// and a restart finds every run where it was.
type rhythm struct {
	interval int64 // nanoseconds
	hash     uint64
}

// newRhythm hashes self in, or all nodes would poll one peer at one moment.
func newRhythm(self NodeID, probe string, peer peerKey, interval time.Duration) rhythm {
	h := fnv.New64a()
	h.Write(self[:])
	h.Write([]byte(probe))
	h.Write(peer.node[:])
	h.Write([]byte(peer.at.Host))
	h.Write(binary.BigEndian.AppendUint16(nil, peer.at.Port))
	return rhythm{interval: int64(interval), hash: mix(h.Sum64())}
}

func (r rhythm) nominal(slot int64) int64 {
	return slot*r.interval + int64(r.hash%uint64(r.interval))
}

func (r rhythm) due(slot int64) int64 {
	fifth := r.interval / 5
	if fifth == 0 {
		return r.nominal(slot)
	}
	return r.nominal(slot) + int64(mix(r.hash+uint64(slot))%uint64(fifth)) - fifth/2
}

// slotAt is the first slot whose nominal time is not before ns.
func (r rhythm) slotAt(ns int64) int64 {
	past := ns - r.nominal(0)
	slot := past / r.interval
	if slot*r.interval < past {
		slot++
	}
	return slot
}

// after is the slot of the run that follows one due at last, steps intervals
// later. A first run lies off the grid: half an interval is given and taken.
func (r rhythm) after(last, steps int64) int64 {
	return r.slotAt(last + steps*r.interval - r.interval/2)
}

// mix is the finaliser of SplitMix64 (Steele et al. 2014): FNV alone leaves the
// low bits of similar names too close for an even spread.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
