package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// seedOriginals makes the originals the node's seeds.
func (n *proc) seedOriginals(os ...*original) {
	var list []string
	for _, o := range os {
		list = append(list, fmt.Sprintf(`{"fqdn":%q,"ip":%q,"port":%d}`, o.fqdn, o.ip, o.port))
	}
	n.write("seed.json", fmt.Sprintf(`{"nodes":[%s]}`, strings.Join(list, ",")))
}

// holds tells that the node knows exactly the originals, alive and unproven.
func (n *proc) holds(os ...*original) error {
	a, err := n.nodes()
	if err != nil {
		return err
	}
	if len(a.Nodes) != len(os) {
		return fmt.Errorf("node %d knows %d nodes, want %d: %+v", n.port, len(a.Nodes), len(os), a.Nodes)
	}
	for _, o := range os {
		if err := a.holds(o); err != nil {
			return err
		}
	}
	return nil
}

func (a nodesAnswer) holds(o *original) error {
	for _, node := range a.Nodes {
		if node.ID == o.id {
			if node.State != "alive" || node.Proven || node.FQDN != o.fqdn {
				return fmt.Errorf("original %s: %+v, want it alive, not proven", o.fqdn, node)
			}
			return nil
		}
	}
	return fmt.Errorf("original %s is not known: %+v", o.fqdn, a.Nodes)
}

func TestOriginalOfTheSeedsJoins(t *testing.T) {
	o := newOriginal(t, "o1.test")
	n := newNode(t)
	n.seedOriginals(o)
	n.start()
	n.eventually("the original joined", func() error { return n.holds(o) })
}

// TestOriginalIsNotBelieved: what an original says of others makes nobody a
// node, however often it says it.
func TestOriginalIsNotBelieved(t *testing.T) {
	o := newOriginal(t, "o1.test")
	n := newNode(t)
	n.seedOriginals(o)
	n.args = []string{"--interval", "1s"}
	lie(o, n)
	n.start()
	n.eventually("the original joined", func() error { return n.holds(o) })
	self := n.id()
	o.add(originalEntry{ID: self, FQDN: "thief.test", IP: loopback(), IsActive: true})
	before, _ := o.polled()
	n.eventually("its list was heard again and again", func() error {
		a, err := n.nodes()
		if asked, _ := o.polled(); err == nil && (asked < before+6 || a.Candidates == 0) {
			err = fmt.Errorf("polled %d times, %d candidates", asked-before, a.Candidates)
		}
		return err
	})
	if err := n.holds(o); err != nil {
		t.Error(err)
	}
	if got := n.id(); got != self {
		t.Errorf("the node became %s, was %s", got, self)
	}
}

// lie fills an original's list with all that real ones hold.
func lie(o *original, n *proc) {
	long := time.Now().AddDate(0, 0, -90)
	for _, e := range []originalEntry{
		{DiscoveredBy: "seed", FQDN: o.fqdn, IP: o.ip, IsActive: true},                                 // its own twin
		{DiscoveredBy: "seed", FQDN: n.name(), IP: n.host, IsActive: true},                             // ours
		{ID: uuid.NewString(), FQDN: "dead.test", IP: loopback(), LastSeen: long, IsActive: true},      // stale
		{ID: uuid.NewString(), FQDN: "gone.test", IP: loopback(), LastSeen: long},                      // and known to be
		{ID: uuid.NewString(), DiscoveredBy: "report", IsActive: true},                                 // blank
		{ID: "", FQDN: "nobody.test", IP: loopback(), IsActive: true},                                  // without an id
		{ID: uuid.NewString(), FQDN: "unknown", IP: "127.0.0.1", IsActive: true},                       // its default name
		{ID: uuid.NewString(), FQDN: "localhost", IP: "::1", IsActive: true},                           // itself, it thinks
		{ID: "not-an-id", FQDN: "a b\r\nHost: c", IP: "300.1.2.3", DiscoveredBy: "x\x00y"},             // nonsense
		{ID: o.id[:8] + "-0000-4000-8000-000000000000", FQDN: o.fqdn, IP: o.ip, LastSeen: time.Time{}}, // itself, restarted
	} {
		o.add(e)
	}
}

// TestOriginalThatPollsIsLearned: it is dialled back where originals listen.
// Others without a certificate are not.
func TestOriginalThatPollsIsLearned(t *testing.T) {
	o, browser := newTrueOriginal(t, "o1.test"), newTrueOriginal(t, "browser.test")
	n := newNode(t).start()
	url := "https://" + n.addr() + "/nodeinfo"
	if resp, err := browser.client.Get(url); err != nil || resp.Body.Close() != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	if status, body, err := o.request(http.MethodGet, url, nil); err != nil || status != http.StatusOK {
		t.Fatal(status, string(body), err)
	}
	n.eventually("the original was learned", func() error { return n.holds(o) })
	a, err := n.nodes()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{fmt.Sprintf("%s:%d", o.ip, originalPort)}; !reflect.DeepEqual(a.Nodes[0].Endpoints, want) || a.Nodes[0].Found != "caller" {
		t.Errorf("got %+v, want it at %v by its call", a.Nodes[0], want)
	}
	if asked, _ := browser.polled(); asked != 0 || a.Candidates != 0 {
		t.Errorf("a browser was dialled back %d times, %d candidates", asked, a.Candidates)
	}
}

func TestReportOfAnOriginalIsKeptApart(t *testing.T) {
	o := newOriginal(t, "o1.test")
	n := newNode(t)
	lie(o, n)
	o.add(originalEntry{ID: uuid.NewString(), FQDN: "said.test", IP: o.ip, IsActive: true})
	valid := originalReport{Timestamp: time.Now(), NodeID: o.id}
	for _, e := range o.list() {
		if !strings.ContainsAny(e.FQDN, "\r ") { // what no original has sent
			valid.Nodes = append(valid.Nodes, e)
		}
	}
	n.start()
	status, body, err := o.report("https://"+n.addr()+"/report", valid)
	if want := `{"message":"Network snapshot received","status":"success"}`; err != nil || status != http.StatusOK || strings.TrimSpace(string(body)) != want {
		t.Fatalf("got %d %s %v, want 200 %s", status, body, err, want)
	}
	n.showsReport(o.id, o.ip, len(valid.Nodes))
	n.stop()
	n.start()
	n.showsReport(o.id, o.ip, len(valid.Nodes))
	if a, err := n.nodes(); err != nil || len(a.Nodes) != 0 || a.Candidates != 0 {
		t.Errorf("the report was merged: %+v %v", a, err)
	}
}

func (o *original) report(url string, r originalReport) (status int, answer []byte, err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return 0, nil, err
	}
	return o.request(http.MethodPost, url, data)
}

type reportsAnswer struct {
	Reports []struct {
		NodeID    string          `json:"node_id"`
		Verified  bool            `json:"verified"`
		From      string          `json:"from"`
		Timestamp time.Time       `json:"timestamp"`
		Nodes     []originalEntry `json:"nodes"`
		NodeCount int             `json:"node_count"`
		PathCount int             `json:"path_count"`
		Paths     []struct {
			Destination string `json:"destination"`
			Probe       string `json:"probe"`
			Outcome     string `json:"outcome"`
		} `json:"paths"`
	} `json:"reports"`
}

func (n *proc) showsReport(id, from string, nodes int) {
	n.t.Helper()
	var all, one reportsAnswer
	if err := n.get("/api/v1/reports", &all); err != nil {
		n.t.Fatal(err)
	}
	if err := n.get("/api/v1/reports/"+id, &one); err != nil {
		n.t.Fatal(err)
	}
	if len(all.Reports) != 1 || len(one.Reports) != 1 {
		n.t.Fatalf("got %d reports and %d of %s, want one", len(all.Reports), len(one.Reports), id)
	}
	r := all.Reports[0]
	if r.NodeID != id || r.Verified || r.From != from || r.NodeCount != nodes || len(one.Reports[0].Nodes) != nodes {
		n.t.Errorf("got %+v with %d nodes, want an unverified one of %d nodes from %s", r, len(one.Reports[0].Nodes), nodes, from)
	}
}
