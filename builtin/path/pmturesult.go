package path

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// Kinds of what pmtu tells beside figures.
const (
	conditionBlackHole = "mtu_black_hole" // holds as long as runs tell it
	conditionChanged   = "pmtu_changed"   // has happened
)

// result tells the belief and, of a run that searched, the RTT and what it cost. One
// that verified has nothing to say of these: they are always the same, and each figure
// of each run is kept for a day. The RTT is for stamp to measure.
func (r *pmtuRun) result() sdk.Result {
	result := sdk.Result{Attributes: make(map[string]string)}
	add := func(name string, v int) {
		result.Metrics = append(result.Metrics, sdk.Metric{Name: name, Value: float64(v)})
	}
	if r.searched {
		result.RTT = r.rtt
		add("pmtu_probe_packets", r.spent.packets)
		add("pmtu_probe_bytes", r.spent.bytes)
		add("pmtu_forward_probe_packets", r.spent.forward)
		add("pmtu_backward_probe_packets", r.spent.back)
	}
	if !r.belief.known {
		return result
	}
	// Of two findings of a kind the host takes one: both ways go into one sentence.
	var blackHoles []string
	for _, d := range []struct {
		way string
		pmtu
	}{{"forward", r.belief.forward}, {"backward", r.belief.back}} {
		kind, holes := d.kind, d.blackHole
		if !r.verified { // it does not hold, but what does is not known yet
			kind, holes = kindUnknown, holesUnknown
		}
		result.Attributes["pmtu_"+d.way+"_kind"] = string(kind)
		result.Attributes["pmtu_"+d.way+"_black_hole"] = string(holes)
		if kind == kindUnknown {
			continue
		}
		add(d.metric(d.way), d.mtu)
		result.Attributes["pmtu_"+d.way+"_how"] = d.how
		if d.by != "" {
			result.Attributes["pmtu_"+d.way+"_by"] = d.by
		}
		if holes == holesYes {
			add("pmtu_"+d.way+"_black_holes_count", 1) // none else: the same figure in all runs of nearly all paths
			blackHoles = append(blackHoles, d.hole(d.way))
		}
	}
	if len(blackHoles) > 0 {
		addFinding(&result, conditionBlackHole, strings.Join(blackHoles, "; "))
	}
	if changes := r.changes(); len(changes) > 0 {
		result.Hint = strings.Join(changes, "; ")
		addNote(&result, conditionChanged, result.Hint)
	}
	if r.postponed {
		result.Attributes["pmtu_search"] = "postponed"
	}
	return result
}

// metric is the name of p's MTU, which goes to where attributes do not: what may be less
// than the truth has another.
func (p pmtu) metric(way string) string {
	if p.kind == kindAtLeast {
		return "pmtu_" + way + "_at_least_bytes"
	}
	return "pmtu_" + way + "_bytes"
}

// hole is the sentence about a black hole.
func (p pmtu) hole(way string) string {
	text := fmt.Sprintf("packets above %d bytes vanish without a word on the way %s", p.mtu, way)
	if p.by != "" {
		text += ", between " + p.by
	}
	return text
}

// contradicts tells that p and was cannot both be true of one path: a lower bound
// that is found to be more was no other path.
func (p pmtu) contradicts(was pmtu) bool {
	switch {
	case p.mtu == 0 || was.mtu == 0:
		return false
	case p.kind == kindAtLeast && was.kind == kindAtLeast:
		return false
	case was.kind == kindAtLeast:
		return p.mtu < was.mtu
	case p.kind == kindAtLeast:
		return p.mtu > was.mtu
	default:
		return p.mtu != was.mtu
	}
}

// after is what was is known to be by now that p was found: what only says less than
// was known is no news.
func (p pmtu) after(was pmtu) pmtu {
	switch {
	case p.mtu == 0, p.kind == kindAtLeast && was.sure() && !p.contradicts(was):
		return was
	case p.kind == kindAtLeast && was.kind == kindAtLeast && p.mtu < was.mtu:
		return was
	default:
		return p
	}
}

// changes are what differs from what was known before, in words.
func (r *pmtuRun) changes() (list []string) {
	if !r.verified {
		return nil
	}
	for _, d := range []struct {
		way      string
		was, now pmtu
	}{{"forward", r.before.forward, r.belief.forward}, {"backward", r.before.back, r.belief.back}} {
		if d.now.contradicts(d.was) {
			list = append(list, d.way+" MTU was "+strconv.Itoa(d.was.mtu)+", is "+strconv.Itoa(d.now.mtu))
		}
	}
	return list
}
