package path

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// hopPath is what a trace found: the flows joined by hop. Its JSON is the
// document "trace".
type hopPath struct {
	ID      string     `json:"id"`
	Target  netip.Addr `json:"target"`
	Reached bool       `json:"reached"`
	Hops    []pathHop  `json:"hops"`
	// Links are those that one flow saw both ends of. Between hops without one is a
	// gap: flows may go different ways, and a link between a hop of the one and a
	// hop of the other need not exist.
	Links []pathLink `json:"links"`
	Flows []pathFlow `json:"flows"`
}

// pathHop is one distance from here. No node: nothing answered, which says
// nothing of loss.
type pathHop struct {
	TTL   int        `json:"ttl"`
	Nodes []pathNode `json:"nodes"`
	// Gap tells that no link from the hop before is known.
	Gap bool `json:"gap,omitempty"`
}

type pathNode struct {
	Address netip.Addr `json:"address"`
	SeenBy  []string   `json:"seen_by"`
	RTT     int64      `json:"rtt_us"`
	// Answer is how it answered, when not by a time-exceeded.
	Answer string `json:"answer,omitempty"`
}

// pathLink leads from a node to one of the hop TTL; From is empty for this host.
type pathLink struct {
	TTL    int      `json:"ttl"`
	From   string   `json:"from,omitempty"`
	To     string   `json:"to"`
	SeenBy []string `json:"seen_by"`
}

type pathFlow struct {
	Protocol string `json:"protocol"`
	Source   string `json:"source"`
	// Destination shows the port that the flow aims at.
	Destination string `json:"destination"`
	Reached     bool   `json:"reached"`
	// RefusedBy is a router, one of the last hops, that lets the flow not pass.
	RefusedBy string `json:"refused_by,omitempty"`
	Hops      int    `json:"hops"`
	Probes    int    `json:"probes"`
	Took      int64  `json:"took_us"`
}

// joinFlows puts the flows together. When they do not agree how far the end is,
// the hops behind the nearer one are those of the other flow.
func joinFlows(target netip.Addr, flows []flow) hopPath {
	p := hopPath{Target: target, Hops: []pathHop{}, Links: []pathLink{}}
	for _, f := range flows {
		p.Reached = p.Reached || f.reached
		p.Flows = append(p.Flows, f.summary())
		for i, h := range f.hops {
			if i == len(p.Hops) {
				p.Hops = append(p.Hops, pathHop{TTL: i + 1, Nodes: []pathNode{}})
			}
			for _, s := range h.seen {
				p.Hops[i].add(s, f.protocol)
			}
		}
	}
	for i := range p.Hops {
		slices.SortFunc(p.Hops[i].Nodes, func(a, b pathNode) int { return a.Address.Compare(b.Address) })
		p.link(i, flows)
	}
	p.ID = p.identity()
	return p
}

func (f *flow) summary() pathFlow {
	s := pathFlow{
		Protocol: f.protocol, Source: f.source.String(), Destination: f.destination.String(),
		Reached: f.reached, Hops: len(f.hops), Probes: f.probes, Took: f.took.Microseconds(),
	}
	if f.refusedBy.IsValid() {
		s.RefusedBy = f.refusedBy.String()
	}
	return s
}

func (h *pathHop) add(s sighting, protocol string) {
	if !s.addr.IsValid() {
		return
	}
	i := slices.IndexFunc(h.Nodes, func(n pathNode) bool { return n.Address == s.addr })
	if i < 0 {
		h.Nodes = append(h.Nodes, pathNode{Address: s.addr, RTT: s.rtt.Microseconds(), Answer: s.note, SeenBy: []string{protocol}})
		return
	}
	n := &h.Nodes[i]
	n.RTT = min(n.RTT, s.rtt.Microseconds())
	n.Answer = cmp.Or(n.Answer, s.note)
	if !slices.Contains(n.SeenBy, protocol) {
		n.SeenBy = append(n.SeenBy, protocol)
	}
}

// link adds the links to hop i that a single flow shows beyond doubt: a flow whose
// packets are shared out one by one saw several nodes at a hop, and no links.
func (p *hopPath) link(i int, flows []flow) {
	p.Hops[i].Gap = true
	for _, f := range flows {
		to, ok := f.only(i)
		from, known := f.only(i - 1)
		if !ok || !known {
			continue
		}
		p.Hops[i].Gap = false
		at := slices.IndexFunc(p.Links, func(l pathLink) bool { return l.TTL == i+1 && l.From == from && l.To == to })
		if at < 0 {
			p.Links = append(p.Links, pathLink{i + 1, from, to, []string{f.protocol}})
		} else {
			p.Links[at].SeenBy = append(p.Links[at].SeenBy, f.protocol)
		}
	}
}

// only is the one address that the flow saw at hop i; hop -1 is this host.
func (f *flow) only(i int) (string, bool) {
	if i < 0 {
		return "", true
	}
	if i >= len(f.hops) || len(f.hops[i].seen) == 0 || !f.hops[i].seen[0].addr.IsValid() {
		return "", false
	}
	first := f.hops[i].seen[0].addr
	for _, s := range f.hops[i].seen {
		if s.addr != first {
			return "", false
		}
	}
	return first.String(), true
}

// identity is the hash of the addresses by hop: the same for the same way.
func (p *hopPath) identity() string {
	var b strings.Builder
	for _, h := range p.Hops {
		for i, n := range h.Nodes {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(n.Address.String())
		}
		b.WriteByte('>')
	}
	fmt.Fprint(&b, p.Reached)
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}

// sameWay tells that p and an earlier path may be one way: nowhere with other
// addresses, and the target no nearer or farther. A hop that is silent now is not
// another one: its router may just have had to answer too many. Nor is a target
// that does not answer now: as far as the shorter path goes they are compared.
func (p *hopPath) sameWay(earlier *hopPath) bool {
	if p.Reached && earlier.Reached && len(p.Hops) != len(earlier.Hops) {
		return false
	}
	if p.goesBeyond(earlier) || earlier.goesBeyond(p) {
		return false
	}
	for i := range min(len(p.Hops), len(earlier.Hops)) {
		a, b := p.Hops[i].Nodes, earlier.Hops[i].Nodes
		if len(a) > 0 && len(b) > 0 && !slices.ContainsFunc(a, func(n pathNode) bool {
			return slices.ContainsFunc(b, func(m pathNode) bool { return n.Address == m.Address })
		}) {
			return false
		}
	}
	return true
}

// goesBeyond tells that a hop of p answered which is farther than the target was.
func (p *hopPath) goesBeyond(whole *hopPath) bool {
	last, any := p.lastHeard()
	return whole.Reached && any && last.TTL > len(whole.Hops)
}

// cutAt is the identity of a way that is p up to hop ttl and ends there.
func (p *hopPath) cutAt(ttl int) string {
	cut := hopPath{Hops: p.Hops[:min(ttl, len(p.Hops))]}
	return cut.identity()
}

// known is how many hops have an address.
func (p *hopPath) known() (n int) {
	for _, h := range p.Hops {
		if len(h.Nodes) > 0 {
			n++
		}
	}
	return n
}

// lastHeard is the farthest hop that answered.
func (p *hopPath) lastHeard() (pathHop, bool) {
	for _, h := range slices.Backward(p.Hops) {
		if len(h.Nodes) > 0 {
			return h, true
		}
	}
	return pathHop{}, false
}

func (p *hopPath) reachedBy() (list []string) {
	for _, f := range p.Flows {
		if f.Reached {
			list = append(list, f.Protocol)
		}
	}
	return list
}
