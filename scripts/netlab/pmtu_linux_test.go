package netlab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// row is a network and what a node has to find out there.
type row struct {
	name, keys string
	// hole is whether large packets vanish without a word: "", "forward", "backward" or "both".
	hole string
	// overTCP: UDP does not pass, and what TCP says may be less.
	overTCP bool
	only4   bool
	// delay of L3, each way.
	delay time.Duration
	// bar replaces the usual one, for a reason.
	bar bar
}

// bar is what a row may cost: packets of one direction, time of a run. Zero is no bar.
type bar struct {
	packets int
	took    time.Duration
	why     string
}

const asymmetric = "mtu=1500/1400/1500/1500 rmtu=1500/1300/1500/1500 "

var rows = []row{
	{name: "nothing wrong", bar: clean},
	{name: "1400 and 1280, ICMP", keys: "mtu=1500/1400/1280/1500"},
	{name: "asymmetric, ICMP", keys: asymmetric},
	{name: "asymmetric hole", keys: asymmetric + "icmp=ptb", hole: "both"},
	{name: "odd hole", keys: "mtu=1500/1437/1500/1500 rmtu=1500/1291/1500/1500 icmp=ptb", hole: "both"},
	{name: "hole forward", keys: asymmetric + "icmp=ptb-fwd", hole: "forward"},
	{name: "hole backward", keys: asymmetric + "icmp=ptb-rev", hole: "backward"},
	{name: "all ICMP dropped", keys: asymmetric + "icmp=all", hole: "both"},
	{name: "jumbo", keys: "mtu=9000/9000/9000/9000", bar: clean},
	{name: "jumbo with 1500 between", keys: "mtu=9000/1500/9000/9000"},
	{name: "jumbo hole of a switch", keys: "mtu=9000/9000/9000/9000 l2hole=1500", hole: "both"},
	{name: "UDP dropped, hole", keys: "mtu=1500/1400/1500/1500 udp=drop icmp=ptb", hole: "both", overTCP: true},
	{name: "UDP rejected", keys: "mtu=1500/1400/1500/1500 udp=reject", overTCP: true},
	{name: "MSS clamp, hole", keys: "mtu=1500/1400/1500/1500 mss=1300 icmp=ptb", hole: "both"},
	{name: "loss 5 %, hole", keys: asymmetric + "loss=50 icmp=ptb", hole: "both", bar: lossy},
	{name: "loss 5 %, ICMP", keys: asymmetric + "loss=50", bar: lossy},
	{name: "address announced", keys: "announced=1", bar: clean},
	{name: "announced, 1400, ICMP", keys: "announced=1 mtu=1500/1400/1500/1500"},
	{name: "announced, hole", keys: "announced=1 icmp=ptb " + asymmetric, hole: "both"},
	{name: "IPv4 hole of 1000", keys: "mtu=1500/1000/1000/1500 icmp=ptb", hole: "both", only4: true},
	{name: "RTT 81 ms, ICMP", keys: asymmetric + "link=tun", delay: 40500 * time.Microsecond, bar: far},
	{name: "RTT 81 ms, hole", keys: asymmetric + "link=tun icmp=ptb", hole: "both", delay: 40500 * time.Microsecond, bar: far},
}

// Bars: clean is of a path with nothing wrong, that of a hole is also for paths whose
// routers tell.
var (
	clean   = bar{packets: 4}
	aHole   = bar{packets: 60, took: time.Second}
	overTCP = bar{took: 2500 * time.Millisecond}
	far     = bar{60, 2 * time.Second, "no LAN"}
	lossy   = bar{100, 1500 * time.Millisecond, "lost ones are sent again"}
)

// slack is by how much a row may take longer before it fails: the machine may be busy.
// The table tells what the bar itself says.
const slack = 4

// tally is what the runs of a row came to.
type tally struct {
	right, unsure, wrong int
	located              int // holes whose hops were named
	forward, back        int // the most packets that a direction took
	took                 []time.Duration
	said                 []string // by those that are wrong
}

// hosts are h2's addresses.
var hosts = map[string]string{"IPv4": "10.77.4.2", "IPv6": "fd77:4::2"}

// Every row, both families: never a wrong number, a black hole where there is one,
// and none where there is none; no more packets than the bar says.
func TestPMTU(t *testing.T) {
	n := runs(t)
	l := newLab(t)
	l.actor("h2", "peer")
	prober := l.actor("h1", "prober")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NETWORK\tFAMILY\tTRUE MTU\tRIGHT\tUNSURE\tWRONG\tLOCATED\tMOST PACKETS THERE, BACK\tWANTED\tTIME, HALF\tMOST\tWANTED\tBECAUSE")
	for _, r := range rows {
		if only := os.Getenv("NETLAB_ROWS"); only != "" && !strings.Contains(r.name, only) {
			continue
		}
		l.set(r.keys)
		end := func() {}
		if r.delay > 0 {
			end = l.delay(r.delay).end
		}
		truth := l.truth()
		for _, family := range []string{"IPv4", "IPv6"} {
			if r.only4 && family != "IPv4" {
				continue
			}
			var sum tally
			for range n {
				l.run("flush")
				sum.add(r, truth, prober.run(order{Kind: "pmtu", Host: hosts[family], Known: true, Fresh: true}))
			}
			slices.Sort(sum.took)
			sum.print(w, r, family, truth)
			for _, bad := range sum.bad(r) {
				t.Errorf("%s, %s, true is %+v: %s", r.name, family, truth, bad)
			}
		}
		end()
	}
	_ = w.Flush()
}

func (s *tally) print(w io.Writer, r row, family string, truth truth) {
	b := r.wanted()
	packets, took := "", ""
	if b.packets > 0 {
		packets = verdict(max(s.forward, s.back) <= b.packets, b.packets)
	}
	if b.took > 0 {
		took = verdict(s.most() <= b.took, b.took)
	}
	fmt.Fprintf(w, "%s\t%s\t%d/%d\t%d\t%d\t%d\t%d\t%d, %d\t%s\t%s\t%s\t%s\t%s\n", r.name, family, truth.forward, truth.back,
		s.right, s.unsure, s.wrong, s.located, s.forward, s.back, packets, s.half().Round(time.Millisecond), s.most().Round(time.Millisecond), took, b.why)
}

func verdict(good bool, wanted any) string {
	if good {
		return fmt.Sprintf("%v: yes", wanted)
	}
	return fmt.Sprintf("%v: NO", wanted)
}

// half of the runs took no longer; took is sorted.
func (s *tally) half() time.Duration { return s.took[len(s.took)/2] }

func (s *tally) most() time.Duration { return s.took[len(s.took)-1] }

// bad tells what a row fails for.
func (s *tally) bad(r row) (list []string) {
	if s.wrong > 0 {
		list = append(list, fmt.Sprintf("%d runs are wrong:\n%s", s.wrong, strings.Join(s.said, "\n")))
	}
	if n := max(s.forward, s.back); r.wanted().packets > 0 && n > r.wanted().packets {
		list = append(list, fmt.Sprintf("%d packets one way, want %d", n, r.wanted().packets))
	}
	if most := r.wanted().took; most > 0 && s.half() > slack*most {
		list = append(list, fmt.Sprintf("half of the runs took %s and more, want %s", s.half(), most))
	}
	if needs := r.locatedIn(); needs > 0 && len(s.took) >= needs && s.located == 0 {
		list = append(list, fmt.Sprintf("no hole was located in %d runs", len(s.took)))
	}
	return list
}

// wanted is the row's bar.
func (r row) wanted() bar {
	switch {
	case r.bar != bar{}:
		return r.bar
	case r.overTCP:
		return overTCP
	default:
		return aHole
	}
}

// locatedIn is in how many runs a hole has to be located at least once: 0 where there
// is none forward, or routers tell nothing. A router answers once a second to a
// host, so that of runs without a pause not each names the hops.
func (r row) locatedIn() int {
	switch {
	case r.hole == "" || r.hole == "backward" || r.overTCP || strings.Contains(r.keys, "icmp=all"):
		return 0
	default:
		return 5
	}
}

// truth is what the lab says of its network.
type truth struct {
	forward, back int
	narrowest     string // the hops around the narrowest link forward, IPv4
}

func (l *lab) truth() truth {
	l.t.Helper()
	said := l.status()
	forward, err := strconv.Atoi(said["true_forward"])
	back, errBack := strconv.Atoi(said["true_reverse"])
	if err = errors.Join(err, errBack); err != nil {
		l.t.Fatalf("status: %v", err)
	}
	return truth{forward, back, said["true_narrowest"]}
}

func (s *tally) add(r row, t truth, a sdk.Answer) {
	s.forward = max(s.forward, int(metric(a, "pmtu_forward_probe_packets")))
	s.back = max(s.back, int(metric(a, "pmtu_backward_probe_packets")))
	s.took = append(s.took, a.Took)
	verdicts := []string{r.judge(a, "forward", t.forward), r.judge(a, "backward", t.back)}
	if a.Result.Attributes["pmtu_forward_black_hole"] == "yes" {
		verdicts = append(verdicts, s.locate(t, a.Result.Attributes["pmtu_forward_by"]))
	}
	switch {
	case a.Outcome != sdk.OutcomeSuccess || slices.Contains(verdicts, "wrong"):
		s.wrong++
		if len(s.said) < 3 {
			s.said = append(s.said, fmt.Sprintf("%v %s %q %v %v", a.Outcome, a.Reason, a.Message, a.Result.Attributes, a.Result.Metrics))
		}
	case slices.Contains(verdicts, "unsure"):
		s.unsure++
	default:
		s.right++
	}
}

// locate judges the hops around a hole. To name none is not wrong, as routers answer but
// so often, and nor are hops farther apart: that some are found, tally.bad sees to.
func (s *tally) locate(t truth, by string) string {
	before, behind, _ := strings.Cut(strings.NewReplacer("fd77:", "10.77.", "::", ".").Replace(by), " and ")
	switch {
	case by == "":
	case before+"-"+behind == t.narrowest:
		s.located++
	case before > strings.Split(t.narrowest, "-")[0] && before != "this host" || behind < strings.Split(t.narrowest, "-")[1]:
		return "wrong"
	}
	return "right"
}

// judge tells what is to be thought of one direction. TCP may be unsure: that is
// to claim less than is true, and to say so.
func (r row) judge(a sdk.Answer, way string, truth int) string {
	said := a.Result.Attributes
	mtu := int(max(metric(a, "pmtu_"+way+"_bytes"), metric(a, "pmtu_"+way+"_at_least_bytes")))
	kind, hole := said["pmtu_"+way+"_kind"], said["pmtu_"+way+"_black_hole"]
	isHole := r.hole == "both" || r.hole == way
	switch {
	case hole == "yes" && !isHole:
		return "wrong"
	case kind == "exact" || kind == "at_local_max":
		if mtu != truth || isHole && hole != "yes" {
			return "wrong"
		}
		return "right"
	case r.overTCP && kind == "at_least" && mtu <= truth && mtu >= 1280:
		return "unsure"
	default:
		return "wrong"
	}
}
