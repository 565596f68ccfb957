package plugins

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// drainAfterExit is how long the pipes of an ended process are still read. Data
// already written is there at once; only a grandchild keeps them open longer.
const drainAfterExit = 250 * time.Millisecond

// child is one plugin process as go-plugin's runner. Unlike go-plugin's own it
// reaps as soon as the process ends, whoever still holds its pipes, and it
// kills the whole process group.
type child struct {
	spawner *spawner
	cmd     *exec.Cmd
	binary  *os.File // nil: cmd.Path is executed as it is
	memory  int64    // RLIMIT_DATA in bytes; <= 0: none
	stderr  io.Writer
	warn    func(msg string, err error)

	stdout   *handshakeReader
	errPipe  *os.File
	lifeline *os.File // its closing tells the plugin to end
	logged   chan struct{}
	done     chan struct{} // closed when reaped

	mu     sync.Mutex // guards below
	pid    int
	doomed bool // killed before it was started
	ended  bool // by itself or by us; not yet reaped
	killed bool // by us
	reaped bool
	exit   error
}

var _ runner.Runner = (*child)(nil)

func newChild(s *spawner, cmd *exec.Cmd, memory int64, stderr io.Writer, warn func(string, error)) *child {
	return &child{
		spawner: s, cmd: cmd, memory: memory, stderr: stderr, warn: warn,
		logged: make(chan struct{}), done: make(chan struct{}),
	}
}

// Start executes the process. The limit on its memory is set just after, as
// only its parent can: what it allocates before that counts, too.
func (c *child) Start(context.Context) error {
	pipes, err := c.connect()
	if err == nil {
		err = c.spawner.start(c.cmd)
	}
	for _, f := range pipes {
		f.Close()
	}
	if err != nil {
		c.closePipes()
		close(c.logged)
		close(c.done)
		return err
	}
	c.mu.Lock()
	c.pid = c.cmd.Process.Pid
	doomed := c.doomed
	c.mu.Unlock()
	if doomed {
		c.kill()
	}
	if err := limitMemory(c.cmd.Process.Pid, c.memory); err != nil {
		c.warn("plugin memory not limited", err)
	}
	go c.readErrors()
	go c.reap()
	return nil
}

// connect makes the pipes; it returns the ends that are the child's.
func (c *child) connect() (theirs []*os.File, err error) {
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	outR, outW := pipe()
	errR, errW := pipe()
	lifeR, lifeW := pipe()
	for _, f := range []*os.File{outW, errW, lifeR, c.binary} {
		if f != nil {
			theirs = append(theirs, f)
		}
	}
	c.stdout, c.errPipe, c.lifeline = &handshakeReader{f: outR}, errR, lifeW
	if err != nil {
		return theirs, err
	}
	c.cmd.Stdout, c.cmd.Stderr = outW, errW
	return theirs, inherit(c.cmd, lifeR, c.binary)
}

func (c *child) closePipes() {
	c.stdout.f.Close()
	c.errPipe.Close()
	c.lifeline.Close()
}

func (c *child) readErrors() {
	defer close(c.logged)
	_, _ = io.Copy(c.stderr, c.errPipe)
	c.errPipe.Close()
}

// reap waits for the process, ends what is left of its group while the group's
// number cannot have been given to others yet, and lets the readers finish.
func (c *child) reap() {
	if waitExit(c.cmd.Process.Pid) {
		c.mu.Lock()
		c.ended = true
		killGroup(c.cmd.Process)
		c.exit = c.cmd.Wait() // at once: it has ended
	} else {
		err := c.cmd.Wait()
		c.mu.Lock()
		c.exit = err
	}
	c.ended, c.reaped = true, true
	c.mu.Unlock()
	c.lifeline.Close()
	limit := time.Now().Add(drainAfterExit)
	_ = c.stdout.f.SetReadDeadline(limit)
	_ = c.errPipe.SetReadDeadline(limit)
	select {
	case <-c.logged:
	case <-time.After(2 * drainAfterExit): // pipes without deadlines (Windows)
	}
	close(c.done)
}

// kill sends SIGKILL to the process and all of its group. Before Start it makes
// Start do so.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.pid == 0:
		c.doomed = true
	case !c.ended:
		c.killed = true
		killGroup(c.cmd.Process)
	}
}

// PID is 0 before Start.
func (c *child) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// fate says how the process ended, "exit status 2", and whether it was killed
// by the host.
func (c *child) fate() (status string, killed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.reaped:
		return "no exit status", true
	case c.exit == nil:
		return "exit status 0", false
	default:
		// A kill that came while it was exiting changed nothing.
		return c.exit.Error(), c.killed && !c.cmd.ProcessState.Exited()
	}
}

// Wait implements runner.Runner.
func (c *child) Wait(context.Context) error {
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exit
}

// Kill implements runner.Runner.
func (c *child) Kill(context.Context) error {
	c.kill()
	return nil
}

// Stdout implements runner.Runner.
func (c *child) Stdout() io.ReadCloser { return c.stdout }

// Stderr implements runner.Runner. The host reads stderr itself.
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(eof{}) }

// Name implements runner.Runner.
func (c *child) Name() string { return c.cmd.Path }

// ID implements runner.Runner.
func (c *child) ID() string { return strconv.Itoa(c.PID()) }

// Diagnose implements runner.Runner; the host has its own words.
func (c *child) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator.
func (c *child) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (c *child) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// handshakeReader gives go-plugin the first line of stdout and swallows the
// rest. go-plugin's own scanner gives up on a long line, and nobody would empty
// the pipe then: the plugin would block in its next print.
type handshakeReader struct {
	f    *os.File
	seen int
	rest bool
}

// maxHandshake is more than a handshake with a certificate in it needs.
const maxHandshake = 16 << 10

func (r *handshakeReader) Read(p []byte) (int, error) {
	if r.rest {
		_, _ = io.Copy(io.Discard, r.f)
		r.f.Close()
		return 0, io.EOF
	}
	if r.seen >= maxHandshake {
		r.rest = true
		p[0] = '\n'
		return 1, nil
	}
	n, err := r.f.Read(p)
	r.seen += n
	for i, b := range p[:n] {
		if b == '\n' {
			r.rest = true
			return i + 1, nil
		}
	}
	if err != nil {
		r.rest = true
		return n, io.EOF
	}
	return n, nil
}

func (r *handshakeReader) Close() error { return r.f.Close() }
