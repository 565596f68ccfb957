package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// lookEvery is how often the nodes are asked: seldom enough to cost nothing
// beside what they do themselves.
const lookEvery = 100 * time.Millisecond

// mesh is all nodes of this run.
type mesh struct {
	options
	all   []*node
	began time.Time
}

// newMesh makes sure that the mesh can be started, before anything of the last
// run is touched.
func newMesh(o options) (*mesh, error) {
	if _, err := os.Stat(o.binary); err != nil {
		return nil, fmt.Errorf("%w; \"make build\" makes it", err)
	}
	m := &mesh{options: o}
	for i := range o.nodes {
		m.all = append(m.all, newNode(o.dir, i+1, o.basePort+i))
	}
	var taken []error
	for _, n := range m.all {
		l, err := net.Listen("tcp", n.address())
		if err != nil {
			taken = append(taken, fmt.Errorf("port %d for %s: %w; stop what listens there, or choose another -base-port", n.port, n.name, err))
			continue
		}
		l.Close()
	}
	return m, errors.Join(taken...)
}

// start starts all nodes at once.
func (m *mesh) start() error {
	// The kernel ends a node with the thread that started it: this one, which
	// lasts as long as the process.
	runtime.LockOSThread()
	for i, n := range m.all {
		var seed *node
		if i > 0 {
			seed = m.all[0]
		}
		if err := n.prepare(seed, m.keep); err != nil {
			return fmt.Errorf("prepare %s: %w", n.name, err)
		}
	}
	m.began = time.Now()
	for _, n := range m.all {
		if err := n.start(m.options); err != nil {
			return err
		}
	}
	for _, n := range m.all {
		fmt.Printf("%-7s https://%s/dashboard   log: %s\n", n.name, n.address(), n.log.Name())
	}
	return nil
}

// watch tells how the mesh comes along until ctx ends or a node does.
func (m *mesh) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	p := progress{want: m.nodes * (m.nodes - 1), alive: -1}
	for {
		if err := m.dead(); err != nil {
			return err
		}
		alive := m.alive(ctx)
		if ctx.Err() != nil {
			return m.interrupted()
		}
		was := p.whole
		if line := p.tell(alive, time.Since(m.began)); line != "" {
			fmt.Println(line)
		}
		switch {
		case p.whole && m.untilWhole:
			return nil
		case p.whole && !was:
			fmt.Println("press Ctrl-C to stop")
		}
		if m.untilWhole && time.Since(m.began) > m.limit {
			return fmt.Errorf("not whole after %s: %d of %d paths alive", m.limit, alive, p.want)
		}
		select {
		case <-ctx.Done():
			return m.interrupted()
		case <-tick.C:
		}
	}
}

// progress is what was told of the mesh so far.
type progress struct {
	want, alive int
	whole       bool // at least once
}

// tell is what there is to say of so many paths that are alive; empty for
// nothing new.
func (p *progress) tell(alive int, after time.Duration) string {
	if alive == p.alive {
		return ""
	}
	p.alive = alive
	switch {
	case alive < p.want:
		return fmt.Sprintf("%d of %d paths alive", alive, p.want)
	case p.whole:
		return fmt.Sprintf("whole again: all %d paths alive", p.want)
	}
	p.whole = true
	return fmt.Sprintf("whole after %.2fs: all %d paths alive", after.Seconds(), p.want)
}

// interrupted is the end that people mean, unless something else was waited for.
func (m *mesh) interrupted() error {
	if m.untilWhole {
		return errors.New("interrupted before the mesh was whole")
	}
	return nil
}

// dead is the reason why a node is gone.
func (m *mesh) dead() error {
	for _, n := range m.all {
		select {
		case <-n.ended:
			return fmt.Errorf("%s ended (%v); the end of its log:\n%s", n.name, n.err, n.lastWords())
		default:
		}
	}
	return nil
}

// alive counts the paths between nodes of this mesh that their sources see
// alive. Others may have joined: they are not counted.
func (m *mesh) alive(ctx context.Context) int {
	ids, seen := make([]string, len(m.all)), make([][]string, len(m.all))
	var asking sync.WaitGroup
	for i, n := range m.all {
		asking.Go(func() {
			ids[i], seen[i], _ = n.look(ctx) // a node that does not answer yet sees nobody
		})
	}
	asking.Wait()
	alive := 0
	for i, peers := range seen {
		for j, id := range ids {
			if i != j && id != "" && slices.Contains(peers, id) {
				alive++
			}
		}
	}
	return alive
}

// stop ends every node and waits until all are gone.
func (m *mesh) stop() error {
	for _, n := range m.all {
		n.ask()
	}
	var errs []error
	for _, n := range m.all {
		errs = append(errs, n.wait())
		n.admin.CloseIdleConnections()
	}
	return errors.Join(errs...)
}
