package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// mesh starts n nodes whose only seed is the first.
func mesh(t *testing.T, n int) []*proc {
	t.Helper()
	nodes := []*proc{newNode(t).start()}
	for len(nodes) < n {
		nodes = append(nodes, newNode(t, nodes[0]).start())
	}
	for i := range nodes {
		nodes[i].eventually("the mesh is whole", func() error { return nodes[i].sees("alive", others(nodes, i)...) })
	}
	return nodes
}

func others(nodes []*proc, i int) []*proc {
	return append(append([]*proc{}, nodes[:i]...), nodes[i+1:]...)
}

func TestMeshOfFour(t *testing.T) {
	nodes := mesh(t, 4)

	t.Run("every node holds the whole matrix", func(t *testing.T) {
		nodes[3].eventually("12 paths", func() error { return nodes[3].wholeMatrix(4) })
	})
	t.Run("a killed node is down, and back after a restart", func(t *testing.T) {
		id := nodes[1].id()
		nodes[1].kill()
		nodes[0].eventually("node 1 is down", func() error { return nodes[0].stateOf(nodes[1], "down") })
		if err := nodes[0].sees("alive", nodes[1:]...); err == nil {
			t.Fatal("a dead node is seen alive")
		}
		nodes[1].seed() // it knows the others from its store
		nodes[1].start()
		if got := nodes[1].id(); got != id {
			t.Fatalf("id after a restart: got %s, want %s", got, id)
		}
		nodes[0].eventually("node 1 is alive again", func() error { return nodes[0].sees("alive", nodes[1:]...) })
		nodes[1].eventually("node 1 sees all without a seed", func() error { return nodes[1].sees("alive", others(nodes, 1)...) })
	})
	t.Run("SIGTERM is a goodbye", func(t *testing.T) {
		if code := nodes[2].stop(); code != 0 {
			t.Fatalf("exit code: got %d, want 0", code)
		}
		nodes[0].eventually("node 2 has left", func() error { return nodes[0].stateOf(nodes[2], "left") })
	})
}

func (n *proc) stateOf(other *proc, want string) error {
	a, err := n.nodes()
	if err == nil && a.state(other) != want {
		err = fmt.Errorf("state: got %q, want %q", a.state(other), want)
	}
	return err
}

// wholeMatrix tells that n knows a successful poll of every ordered pair.
func (n *proc) wholeMatrix(nodes int) error {
	var m struct {
		Rows [][]*struct {
			Outcome string `json:"outcome"`
		} `json:"rows"`
	}
	if err := n.get("/api/v1/matrix", &m); err != nil {
		return err
	}
	good := 0
	for i, cells := range m.Rows {
		for j, c := range cells {
			if i != j && c != nil && c.Outcome == "success" {
				good++
			}
		}
	}
	if want := nodes * (nodes - 1); good != want {
		return fmt.Errorf("paths: got %d, want %d", good, want)
	}
	return nil
}

func TestCommandsOfARunningNode(t *testing.T) {
	nodes := mesh(t, 2)
	n := nodes[1]
	n.eventually("the matrix is there", func() error { return n.wholeMatrix(2) })
	other := fmt.Sprintf("n%d.test", nodes[0].port)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"health"}, "healthy"},
		{[]string{"status"}, "alive"},
		{[]string{"status", "-o", "json"}, `"by_state"`},
		{[]string{"peers"}, other},
		{[]string{"peers", "-o", "json"}, `"endpoints"`},
		{[]string{"matrix"}, other},
		{[]string{"events"}, "node_joined"},
		{[]string{"plugin", "list"}, "running"},
		{[]string{"config", "show"}, "listen"},
		{[]string{"config", "check"}, "good"},
		{[]string{"probe", "https", fmt.Sprintf("127.0.0.1:%d", n.port)}, "success"},
		{[]string{"version"}, "nodeprobe"},
	} {
		code, out := n.run(c.args...)
		if code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit code %d, want 0 and %q in:\n%s", c.args, code, c.want, out)
		}
		if strings.Contains(out, "e+09") || strings.Contains(out, "[https]") {
			t.Errorf("%v: numbers and lists as Go writes them:\n%s", c.args, out)
		}
	}
}

func TestForgetDropsANode(t *testing.T) {
	nodes := mesh(t, 2)
	nodes[1].kill()
	id := ""
	nodes[0].eventually("one node known", func() error {
		a, err := nodes[0].nodes()
		if err == nil && len(a.Nodes) == 1 {
			id = a.Nodes[0].ID
		}
		return err
	})
	if code, out := nodes[0].run("peers", "forget", id); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	if err := nodes[0].sees("alive"); err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].call(http.MethodDelete, "/api/v1/nodes/"+id, "", nil); err == nil {
		t.Fatal("a node can be forgotten twice")
	}
}
