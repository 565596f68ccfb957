package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// Subject is the plugin that is checked.
type Subject struct {
	// Path of the executable.
	Path string
	Args []string
	// Env is all that the plugin gets of the environment, apart from what the
	// contract says.
	Env map[string]string
	// Config is a good configuration by kind; {} for kinds that are not there.
	Config map[string]json.RawMessage
	// Grants are values by capability.
	Grants map[string][]byte
	// Target of the probes; zero is a loopback port where nothing listens.
	Target sdk.Target
}

const startTimeout = 5 * time.Second

// process is a plugin that runs.
type process struct {
	subject  *Subject
	client   *goplugin.Client
	cmd      *exec.Cmd
	api      *sdk.Client
	about    *pluginv1.DescribeResponse
	lifeline *os.File
	dir      string
	stderr   *tail
}

// start starts the plugin as a host does, and asks what it offers.
func (s *Subject) start(ctx context.Context) (*process, error) {
	p := &process{subject: s, stderr: &tail{}}
	if err := p.prepare(); err != nil {
		return nil, err
	}
	if err := p.connect(ctx); err != nil {
		p.end()
		return nil, p.explain(err)
	}
	return p, nil
}

// prepare makes the command: a private directory for the socket, a life-line, and
// nothing of the environment of this process.
func (p *process) prepare() (err error) {
	if p.dir, err = os.MkdirTemp("", "conformance"); err != nil {
		return err
	}
	path, err := filepath.Abs(p.subject.Path)
	if err != nil {
		return err
	}
	p.cmd = exec.Command(path, p.subject.Args...)
	p.cmd.Env = []string{goplugin.EnvUnixSocketDir + "=" + p.dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + p.dir}
	for k, v := range p.subject.Env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	if runtime.GOOS == "windows" {
		return nil // has no inherited descriptors
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p.lifeline = w
	p.cmd.ExtraFiles = []*os.File{r}
	p.cmd.Env = append(p.cmd.Env, sdk.EnvLifeline+"=3")
	return nil
}

func (p *process) connect(ctx context.Context) error {
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: sdk.Handshake, VersionedPlugins: sdk.VersionedPlugins(), Cmd: p.cmd, SkipHostEnv: true,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC}, StartTimeout: startTimeout,
		Logger: hclog.NewNullLogger(), Stderr: p.stderr, GRPCDialOptions: sdk.DialOptions(),
	})
	protocol, err := p.client.Client()
	for _, f := range p.cmd.ExtraFiles {
		_ = f.Close() // the plugin has its own
	}
	if err != nil {
		return fmt.Errorf("the plugin does not start: %s", strings.TrimSpace(firstLine(err.Error())))
	}
	raw, err := protocol.Dispense(sdk.DispenseName)
	if err != nil {
		return err
	}
	p.api = raw.(*sdk.Client)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if p.about, err = p.api.Describe(ctx, &pluginv1.DescribeRequest{}); err != nil {
		return fmt.Errorf("ask what it offers: %w", err)
	}
	return nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "Unrecognized remote plugin message: \n"), "\n")
	return s
}

// end ends the process by force when it does not end by itself.
func (p *process) end() {
	if p.cmd != nil && p.cmd.Process != nil {
		timer := time.AfterFunc(startTimeout, func() { _ = p.cmd.Process.Kill() })
		p.client.Kill()
		timer.Stop()
	}
	if p.lifeline != nil {
		_ = p.lifeline.Close()
	}
	_ = os.RemoveAll(p.dir)
}

// exited waits until the process is gone.
func (p *process) exited(ctx context.Context) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !p.client.Exited() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// explain adds what the plugin wrote to stderr last.
func (p *process) explain(err error) error {
	if said := p.stderr.String(); err != nil && said != "" {
		return fmt.Errorf("%w; stderr ends: %s", err, said)
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards last
	last []byte
}

const tailBytes = 2048

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if over := len(t.last) - tailBytes; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(t.last), "?"))
}
