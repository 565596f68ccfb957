// Package wire is the JSON that leaves a node: the wire contract of NodeProbe
// (/nodeinfo, /health, /report), the records that reporters get, and their
// conversion from the types of core.
//
// Durations are integers of microseconds and their names end in _us; 0 or
// absent means not measured. Times are RFC 3339 in UTC. Metrics keep the name
// that their probe gave them, which ends in the unit.
//
// What comes from outside is decoded strictly and within limits; an error says
// which field is wrong and what would be right.
package wire
