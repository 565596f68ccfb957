package netlab

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// polls runs pmtu as a node does every so often, until it says what the lab says.
func (l *lab) polls(prober *actor, host string) (n int, a sdk.Answer) {
	l.t.Helper()
	forward, backward := l.number("true_forward"), l.number("true_reverse")
	for n = 1; n <= 5; n++ {
		a = prober.run(order{Kind: "pmtu", Host: host, Known: true})
		if int(metric(a, "pmtu_forward_bytes")) == forward && int(metric(a, "pmtu_backward_bytes")) == backward {
			return n, a
		}
		time.Sleep(100 * time.Millisecond)
	}
	l.t.Errorf("got %+v after %d polls, true is %d/%d", a, n-1, forward, backward)
	return n, a
}

// A path whose MTU falls: told at the next poll with ICMP, within three without.
func TestLoweredMTU(t *testing.T) {
	n := runs(t)
	t.Parallel() // for most of its time it waits
	l := newLab(t)
	l.actor("h2", "peer")
	for _, c := range []struct {
		name, keys string
		within     int
	}{{"ICMP", "icmp=ok", 1}, {"no ICMP", "icmp=ptb", 3}} {
		for family, host := range hosts {
			var took []time.Duration
			polls := 0
			for range n {
				l.set("")
				prober := l.actor("h1", "prober") // a new one: searches are limited
				prober.run(order{Kind: "pmtu", Host: host, Known: true, Fresh: true})
				l.run("set", "mtu=1500/1400/1500/1500", "rmtu=1500/1300/1500/1500", c.keys)
				seen, a := l.polls(prober, host)
				if seen > c.within {
					t.Errorf("%s, %s: seen after %d polls, want %d", c.name, family, seen, c.within)
				}
				polls, took = max(polls, seen), append(took, a.Took)
				prober.end()
			}
			slices.Sort(took)
			fmt.Printf("MTU lowered, %s, %s: %d runs, seen at poll %d, wanted %d, which took %s (half), %s (most)\n", c.name, family,
				n, polls, c.within, took[n/2].Round(time.Millisecond), took[n-1].Round(time.Millisecond))
		}
	}
}

// A black hole that ends while the MTU stays is none at the next poll.
func TestHoleEnds(t *testing.T) {
	n := runs(t)
	t.Parallel()
	l := newLab(t)
	l.actor("h2", "peer")
	for family, host := range hosts {
		wrong := 0
		for range n {
			l.set(asymmetric + "icmp=ptb")
			prober := l.actor("h1", "prober")
			holes := func(fresh bool) string {
				a := prober.run(order{Kind: "pmtu", Host: host, Known: true, Fresh: fresh}).Result.Attributes
				return a["pmtu_forward_black_hole"] + " " + a["pmtu_backward_black_hole"]
			}
			before := holes(true)
			l.run("set", "icmp=ok")
			if after := holes(false); before != "yes yes" || after != "no no" {
				wrong++
				t.Errorf("%s: got black holes %q, and %q after their end", family, before, after)
			}
			prober.end()
		}
		fmt.Printf("black holes end, the MTU stays, %s: %d runs, %d not seen at the next poll\n", family, n, wrong)
	}
}

// Loss by direction, as the lab has counted it.
func TestLoss(t *testing.T) {
	n := runs(t)
	t.Parallel()
	l := newLab(t)
	l.actor("h2", "peer")
	prober := l.actor("h1", "prober")
	for family, host := range hosts {
		off, found := 0.0, [2]float64{}
		for range n {
			l.set("loss=50")
			a := prober.run(order{Kind: "stamp", Host: host, Known: true})
			if a.Outcome != sdk.OutcomeSuccess {
				t.Fatalf("%s: got %+v", family, a)
			}
			for i, way := range []string{"forward", "backward"} {
				got, lost := metric(a, "loss_"+way+"_ratio"), l.number([]string{"lost_forward", "lost_reverse"}[i])
				off = max(off, math.Abs(got-float64(lost)/500))
				found[i] += got / float64(n)
				if math.Abs(got-float64(lost)/500) > 0.015 {
					t.Errorf("%s, %s: got a loss of %v, the lab lost %d of 500", family, way, got, lost)
				}
			}
		}
		fmt.Printf("loss of 5 %% each way, 500 packets, %s: %d runs, %.1f %% there and %.1f %% back on average, off by %.1f points at most, wanted 1.5\n",
			family, n, 100*found[0], 100*found[1], 100*off)
	}
}

// trains of 20 packets that a run of TestRTTUnderLoad sends.
const trains = 5

// The network's RTT, while four others want both cores and both ends have to
// wait for them: they are late by a lot, and the RTT is what the delay line says that
// it has added. The few tens of microseconds of the other links count as an error.
func TestRTTUnderLoad(t *testing.T) {
	n := runs(t) * trains
	l := newLab(t)
	l.set("link=tun")
	line := l.delay(5 * time.Millisecond)
	l.actor("h2", "peer", "nice", "-n", "15")
	prober := l.actor("h1", "prober", "nice", "-n", "15")
	for range 4 {
		hog := exec.CommandContext(t.Context(), "timeout", "5m", "sh", "-c", "while :; do :; done")
		if err := hog.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = hog.Process.Signal(syscall.SIGTERM); _ = hog.Wait() }()
	}
	var off, late, truth []time.Duration
	for range n {
		line.told()
		a := prober.run(order{Kind: "train", Host: hosts["IPv4"], Known: true})
		if a.Outcome != sdk.OutcomeSuccess {
			t.Fatalf("got %+v", a)
		}
		truth = append(truth, line.told().roundTrip())
		off = append(off, (a.Result.RTT - truth[len(truth)-1]).Abs())
		late = append(late, time.Duration((max(0, metric(a, "host_delay_seconds"))+max(0, metric(a, "peer_residence_seconds")))*1e9)) // not told where it is little
	}
	slices.Sort(off)
	slices.Sort(late)
	p99 := off[max(0, len(off)-1-max(1, len(off)/100))] // of few trains, all but one
	fmt.Printf("RTT under load: %d trains, truth %s, off by %s (half), %s (99 %%), wanted 300µs; processes late by %s (half), %s (99 %%)\n",
		n, median(truth), off[len(off)/2], p99, late[len(late)/2].Round(time.Microsecond), late[len(late)*99/100].Round(time.Microsecond))
	if p99 > 300*time.Microsecond {
		t.Errorf("got an RTT that is off by %s", p99)
	}
}

// The hops, and what is left of them where answers are dropped.
func TestTrace(t *testing.T) {
	n := runs(t)
	t.Parallel()
	l := newLab(t)
	l.actor("h2", "peer")
	prober := l.actor("h1", "prober")
	var last time.Time
	for _, c := range []struct {
		name, keys string
		links      int
		wanted     string
	}{
		{"nothing wrong", "", 4, ", wanted 10ms"},
		{"UDP dropped", "udp=drop", 4, ""},
		{"no time exceeded", "icmp=te", 0, ""},
		{"all ICMP dropped", "icmp=all", 0, ""},
		{"two ways", "ecmp=1", 4, ""},
	} {
		l.set(c.keys)
		real := strings.Fields(l.status()["true_links"])
		var took []time.Duration
		wrong, least := 0, c.links
		for range n {
			time.Sleep(time.Until(last.Add(traceEvery)))
			a := prober.run(order{Kind: "trace", Host: hosts["IPv4"], Known: true})
			last = time.Now()
			took = append(took, a.Took)
			links, err := judgeTrace(t, a, real)
			if err != nil {
				wrong++
				t.Errorf("%s: %v: got %+v", c.name, err, a)
			}
			least = min(least, links)
		}
		slices.Sort(took)
		fmt.Printf("trace, %s: %d runs, %d wrong, all 4 hops away, %d of %d links at least; took %s (half), %s (most)%s\n", c.name, n, wrong,
			least, c.links, took[n/2].Round(100*time.Microsecond), took[n-1].Round(100*time.Microsecond), c.wanted)
		if least < c.links {
			t.Errorf("%s: got %d links, want %d", c.name, least, c.links)
		}
	}
}

// traceEvery is so seldom that routers have an answer for each packet.
const traceEvery = 7 * time.Second

// judgeTrace tells what is wrong with a hop path, and how many links it has.
func judgeTrace(t *testing.T, a sdk.Answer, real []string) (links int, err error) {
	if a.Outcome != sdk.OutcomeSuccess || metric(a, "hops_count") != 4 || len(a.Result.Documents) != 1 {
		return 0, errors.New("not 4 hops and their document")
	}
	for _, link := range linksOf(t, a) {
		if !slices.Contains(real, link) {
			return 0, fmt.Errorf("there is no link %s", link)
		}
		links++
	}
	return links, nil
}

// linksOf the hop path, as "from-to".
func linksOf(t *testing.T, a sdk.Answer) (list []string) {
	t.Helper()
	var d struct {
		Links []struct{ From, To string } `json:"links"`
	}
	if err := json.Unmarshal(a.Result.Documents[0].JSON, &d); err != nil {
		t.Fatal(err)
	}
	for _, l := range d.Links {
		list = append(list, l.From+"-"+l.To)
	}
	return list
}
