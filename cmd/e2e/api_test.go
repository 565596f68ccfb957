package e2e

import (
	"fmt"
	"time"
)

// The parts of the API that the tests look at.

type nodesAnswer struct {
	Self struct {
		ID string `json:"id"`
	} `json:"self"`
	Candidates int          `json:"candidates"`
	Nodes      []nodeAnswer `json:"nodes"`
}

type nodeAnswer struct {
	ID        string     `json:"id"`
	FQDN      string     `json:"fqdn"`
	Endpoints []string   `json:"endpoints"`
	State     string     `json:"state"`
	Reason    string     `json:"reason"`
	Proven    bool       `json:"proven"`
	Found     string     `json:"discovered_by"`
	LastSeen  *time.Time `json:"last_seen"`
	Failures  int        `json:"failures"`
	Paths     []struct {
		Probe   string             `json:"probe"`
		Outcome string             `json:"outcome"`
		Reason  string             `json:"reason"`
		Message string             `json:"message"`
		RTT     int64              `json:"rtt_us"`
		Metrics map[string]float64 `json:"metrics"`
	} `json:"paths"`
}

func (n *proc) nodes() (nodesAnswer, error) {
	var a nodesAnswer
	err := n.get("/api/v1/nodes", &a)
	return a, err
}

func (n *proc) id() string {
	n.t.Helper()
	a, err := n.nodes()
	if err != nil {
		n.t.Fatal(err)
	}
	return a.Self.ID
}

// sees tells that n has exactly the others in its list, all in the state.
func (n *proc) sees(state string, others ...*proc) error {
	a, err := n.nodes()
	if err != nil {
		return err
	}
	if len(a.Nodes) != len(others) {
		return fmt.Errorf("node %d knows %d nodes, want %d", n.port, len(a.Nodes), len(others))
	}
	for _, o := range others {
		if got := a.state(o); got != state {
			return fmt.Errorf("node %d sees node %d %q, want %q", n.port, o.port, got, state)
		}
	}
	return nil
}

func (a nodesAnswer) state(of *proc) string {
	for _, node := range a.Nodes {
		if node.FQDN == of.name() {
			return node.State
		}
	}
	return "unknown"
}

type eventsAnswer struct {
	Events []eventAnswer `json:"events"`
}

type eventAnswer struct {
	ID      uint64     `json:"id"`
	Kind    string     `json:"kind"`
	Subject string     `json:"subject"`
	Message string     `json:"message"`
	Began   time.Time  `json:"began"`
	Ended   *time.Time `json:"ended"`
}

type pluginsAnswer struct {
	Plugins   []pluginAnswer `json:"plugins"`
	Reporters []struct {
		Name      string     `json:"name"`
		Backlog   int        `json:"backlog"`
		Delivered uint64     `json:"delivered"`
		LastError string     `json:"last_error"`
		NextTry   *time.Time `json:"next_try"`
	} `json:"reporters"`
}
