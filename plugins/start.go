package plugins

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// hostEnv are the variables of the host that plugins get too: where programs,
// certificates and temporary files are, language and time zone. No secrets.
var hostEnv = [...]string{"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT", "TEMP", "TMP"}

// startError says why a plugin could not be started, in words that follow its name.
type startError struct {
	problem string
	// ran tells that a process came to life: a crash, not a missing file.
	ran   bool
	cause error
}

func (e *startError) Error() string { return e.problem }
func (e *startError) Unwrap() error { return e.cause }

// startProcess verifies, executes and greets a plugin, all within StartTimeout.
// The error is a *startError.
func startProcess(ctx context.Context, l launch) (*process, error) {
	p := &process{launch: l, done: make(chan struct{}), started: time.Now()}
	p.logs = newLogSink(l.log, l.tunables.LogBytesPerMinute, l.dropped)
	p.stdio = newLogSink(l.log, l.tunables.LogBytesPerMinute, l.dropped)
	cmd, binary, sum, err := command(l.spec, l.log.GetLevel())
	if err != nil {
		return nil, &startError{problem: "cannot be started: " + err.Error(), cause: err}
	}
	p.child = newChild(l.spawner, cmd, l.spec.memoryLimit(), p.logs, func(msg string, err error) { l.log.Warn(msg, "error", err) })
	p.child.binary = binary
	p.client = goplugin.NewClient(p.clientConfig())

	var late atomic.Bool
	guard := time.AfterFunc(l.tunables.StartTimeout, func() { late.Store(true); p.child.kill() })
	defer guard.Stop()
	defer context.AfterFunc(ctx, p.child.kill)()
	if err := p.greet(ctx); err != nil {
		if binary != nil {
			binary.Close() // a second time when the child was started: no harm
		}
		return nil, p.stillborn(ctx, err, late.Load())
	}
	p.about.SHA256 = sum
	return p, nil
}

// command is the process to start; binary is the file that was checked.
func command(s *Spec, level hclog.Level) (cmd *exec.Cmd, binary *os.File, sum string, err error) {
	path := s.Path
	if s.Builtin && path == "" {
		path, err = selfPath()
	}
	if err == nil && !s.Builtin {
		binary, sum, err = openVerified(path, s.SHA256)
	}
	if err != nil {
		return nil, nil, "", err
	}
	cmd = &exec.Cmd{Path: path, Args: append([]string{path}, s.Args...), Env: environment(s, level)}
	return cmd, binary, sum, nil
}

// environment is the whole of what a plugin sees. A plugin is small: one P wakes
// fewer threads; GOMEMLIMIT is a backstop far above the working set.
func environment(s *Spec, level hclog.Level) []string {
	env := []string{"GOMAXPROCS=1", "GOMEMLIMIT=64MiB", sdk.EnvLogLevel + "=" + level.String()}
	if s.Builtin {
		// What the packages of this binary make at their start is mostly garbage: the
		// heap would never become as small again as an early GC keeps it.
		env = append(env, "GOGC=25")
	}
	for _, name := range hostEnv {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for name, v := range s.Env {
		env = append(env, name+"="+v)
	}
	return env
}

func (p *process) clientConfig() *goplugin.ClientConfig {
	return &goplugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		VersionedPlugins: sdk.VersionedPlugins(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		StartTimeout:     p.tunables.StartTimeout,
		SkipHostEnv:      true,
		// A private directory protects the socket. Windows has TCP, open to every user.
		AutoMTLS:         runtime.GOOS == "windows",
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: p.runDir},
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       io.Discard,
		SyncStderr:       p.stdio,
		GRPCDialOptions:  append(sdk.DialOptions(), grpc.WithContextDialer(p.dial)),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			p.child.cmd.Env = append(p.child.cmd.Env, cmd.Env...)
			return p.child, nil
		},
	}
}

// greet executes the process, asks what it offers and opens its stream.
func (p *process) greet(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if p.addr, err = p.client.Start(); err != nil {
		return err
	}
	conn, err := p.client.Client()
	if err != nil {
		return err
	}
	raw, err := conn.Dispense(sdk.DispenseName)
	if err != nil {
		return err
	}
	p.rpc = raw.(*sdk.Client)
	about, err := p.rpc.Describe(ctx, &pluginv1.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	p.about = describe(about)
	p.stream = newStream(p.about.MaxInFlight, p.tunables.QueueLimit, p.tunables.JobGrace)
	return p.pump()
}

// dial connects to the process and cuts the connection when the process ends.
// go-plugin's own dialer would wait 20 s for whoever else holds the socket,
// with a lock in its hands that Kill needs.
func (p *process) dial(ctx context.Context, _ string) (net.Conn, error) {
	select {
	case <-p.child.done:
		return nil, errEnded
	default:
	}
	conn, err := new(net.Dialer).DialContext(ctx, p.addr.Network(), p.addr.String())
	if err != nil {
		return nil, err
	}
	go func() {
		<-p.child.done
		conn.Close()
	}()
	return conn, nil
}

var errEnded = errors.New("the process has ended")

// stillborn ends what was started and makes one sentence of err.
func (p *process) stillborn(ctx context.Context, err error, late bool) error {
	if p.child.PID() == 0 {
		p.client.Kill() // removes the socket directory; there is no process to wait for
		if p := (*os.PathError)(nil); errors.As(err, &p) {
			err = p.Err // its path may be that of a descriptor
		}
		return &startError{problem: "cannot be started: " + firstLine(err), cause: err}
	}
	waitFor(p.child.done, 100*time.Millisecond)
	p.child.kill()
	p.end(0)
	status, killed := p.child.fate()
	out := &startError{ran: true, cause: err}
	switch {
	case ctx.Err() != nil:
		out.problem = "was stopped while starting"
	case late:
		out.problem = withLastWords(fmt.Sprintf("did not start within %v", p.tunables.StartTimeout), p.logs)
	case killed:
		out.problem = withLastWords(strangeness(err), p.logs)
	case printed(err) != "":
		out.problem = withLastWords(strangeness(err)+" and ended with "+status, p.logs)
	default:
		out.problem = withLastWords("ended at start with "+status, p.logs)
	}
	return out
}

const unrecognized = "Unrecognized remote plugin message: "

// printed is what a program that is not a plugin wrote instead of the handshake.
func printed(err error) string {
	line, ok := strings.CutPrefix(firstLine(err), unrecognized)
	if !ok {
		return ""
	}
	return strings.TrimSpace(line)
}

// strangeness says what is wrong with a program that runs but does not serve.
func strangeness(err error) string {
	if line := printed(err); line != "" {
		return fmt.Sprintf("is not a NodeProbe plugin: it printed %.80q", line)
	}
	if strings.HasPrefix(firstLine(err), strings.TrimSpace(unrecognized)) {
		return "is not a NodeProbe plugin: it closed its output without the handshake"
	}
	return "does not serve the plugin contract: " + firstLine(err)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return cmp.Or(strings.TrimSpace(line), "unknown cause")
}
