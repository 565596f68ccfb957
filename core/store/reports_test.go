package store

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// TestReportsAreListedUnread: a list must not cost the memory and time of all
// that strangers sent.
func TestReportsAreListedUnread(t *testing.T) {
	s := open(t, Options{})
	for i := range maxUnverified {
		r := core.Report{Node: node(i), Received: epoch.Add(time.Duration(i) * time.Second)}
		for range 200 {
			r.Nodes = append(r.Nodes, core.ReportedNode{ID: node(i).String(), FQDN: "host.example.com", IP: "192.0.2.1"})
		}
		must(t, s.SaveReport(t.Context(), r))
	}
	allocs := testing.AllocsPerRun(5, func() {
		if list, err := s.Reports(t.Context()); err != nil || len(list) != maxUnverified {
			t.Fatalf("got %d reports, %v", len(list), err)
		}
	})
	if most := 100 * float64(maxUnverified); allocs > most {
		t.Errorf("a list of %d reports takes %.0f allocations, want at most %.0f", maxUnverified, allocs, most)
	}
}

// bulky is a report that takes some bytes also when it is packed.
func bulky(n, bytes int) core.Report {
	rng, text := rand.New(rand.NewPCG(1, uint64(n))), make([]byte, bytes)
	for i := range text {
		text[i] = byte('0' + rng.IntN(64))
	}
	return core.Report{Node: node(n), Received: epoch.Add(time.Duration(n) * time.Second), Nodes: []core.ReportedNode{{FQDN: string(text)}}}
}

// What anybody may send must cost neither the history nor what is proven.
func TestReportsOfStrangersGiveWay(t *testing.T) {
	s := open(t, Options{MaxBytes: minMaxBytes})
	if err := s.SaveReport(t.Context(), bulky(1, 400_000)); err == nil {
		t.Error("a report of a third of the database was saved")
	}
	for n := range 4 {
		r := bulky(n, 60_000)
		r.Verified = true
		must(t, s.SaveReport(t.Context(), r))
	}
	if err := s.SaveReport(t.Context(), bulky(9, 100_000)); !errors.Is(err, errNoReportRoom) {
		t.Errorf("got %v, want %v", err, errNoReportRoom)
	}
	must(t, s.Check(t.Context()))
	must(t, s.SaveReport(t.Context(), bulky(10, 1000)))
	list, err := s.Reports(t.Context())
	must(t, err)
	verified := 0
	for _, r := range list {
		if r.Verified {
			verified++
		}
	}
	if verified != 4 || len(list) != 5 {
		t.Errorf("got %d reports, %d verified; want 5, 4", len(list), verified)
	}
	if n := s.Counts().Dropped[core.DropReports]; n != 0 {
		t.Errorf("%d are told as dropped: strangers' are not", n)
	}
	for n := range 2 {
		r := bulky(20+n, 100_000)
		r.Verified = true
		must(t, s.SaveReport(t.Context(), r))
	}
	if s.Counts().Dropped[core.DropReports] == 0 {
		t.Error("that a proven report went is not told")
	}
}
