package sdk

import "slices"

// Occasion is when a probe may want to run beside its interval.
type Occasion string

// The occasions. Each brings the next run of the probe at that peer forward, at
// most once a minute: what comes sooner waits, and the last one counts.
const (
	// OccasionFirstContact: the peer is new. Every probe has its first run then,
	// asked for or not; those that ask are told.
	OccasionFirstContact Occasion = "first_contact"
	// OccasionServices: self was told of services of the peer, or of other ones.
	// That may be some polls after the first contact: the peer must know self.
	OccasionServices Occasion = "services"
	// OccasionFailure: the identifying probe failed for the first time, or the peer
	// says that it does not reach self: both ends of a path have the occasion.
	OccasionFailure Occasion = "failure"
	// OccasionRecovery: what the failure was about is over.
	OccasionRecovery Occasion = "recovery"
	// OccasionHint: another probe met something at the peer that may be of interest,
	// see [Result.Hint].
	OccasionHint Occasion = "hint"
)

// Occasions is the whole vocabulary.
func Occasions() []Occasion {
	return []Occasion{OccasionFirstContact, OccasionServices, OccasionFailure, OccasionRecovery, OccasionHint}
}

// On asks for runs on these occasions, beside the interval; [Target.Occasion]
// tells which one it is. It has no effect on a probe that [Identifies].
func On(occasions ...Occasion) Option {
	return func(p *Part) { p.occasions = append(slices.Clone(p.occasions), occasions...) }
}

func words(occasions []Occasion) []string {
	var out []string
	for _, o := range occasions {
		out = append(out, string(o))
	}
	return out
}
