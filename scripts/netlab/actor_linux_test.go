package netlab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/builtin/path"
	"github.com/seahow-uk/nodeprobe/core/identity"
	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
	"github.com/seahow-uk/nodeprobe/web"
)

// An actor is this test binary on a host of the lab, as nobody, without
// capabilities: it runs the plugin "path" as a node does.
const (
	actorEnv      = "NETLAB_ACTOR"
	reflectorPort = 7443 // and that of HTTPS
)

// order is what an actor is told in a line; the answer is an sdk.Answer in another.
type order struct {
	Kind, Host string
	// Known hands over the key of the target's reflector; Fresh begins anew.
	Known, Fresh bool
}

var actorKey = []byte("netlab: 32 bytes for the caller.")

// TestActor is no test: it is what an actor runs.
func TestActor(t *testing.T) {
	role := os.Getenv(actorEnv)
	if role == "" {
		t.Skip("only for actors")
	}
	grants := plugintest.Secrets("reflector")
	grants[sdk.CapabilityServices] = nil
	h := plugintest.Start(t, path.Plugin(), plugintest.Options{
		Log: hclog.NewNullLogger(), Node: sdk.NodeInfo{SPKI: actorKey}, Grants: grants,
	})
	h.Configure("pmtu", "pmtu", map[string]any{"reflector": map[string]any{"port": reflectorPort}})
	h.Configure("stamp", "stamp", map[string]any{"count": 500, "spacing": "10ms"})
	h.Configure("train", "stamp", map[string]any{"spacing": "10ms"})
	h.Configure("trace", "trace", nil)
	if role == "peer" {
		serveHTTPS(t)
	}
	fmt.Println("\nready")
	out := json.NewEncoder(os.Stdout)
	for in := json.NewDecoder(os.Stdin); ; {
		var o order
		if err := in.Decode(&o); err != nil {
			return
		}
		to := sdk.Target{Host: o.Host, Port: reflectorPort, Fresh: o.Fresh}
		if o.Known {
			to.Services = []sdk.Service{plugintest.Service("reflector", reflectorPort, actorKey)}
		}
		a := h.RunFor(o.Kind, 0, to)
		if err := out.Encode(a); err != nil {
			t.Fatal(err)
		}
	}
}

// serveHTTPS has the TLS of a node, and a page that is about as large as the dashboard.
func serveHTTPS(t *testing.T) {
	t.Helper()
	id, err := identity.Open(t.TempDir(), identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprint(":", reflectorPort))
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, 64<<10)
	s := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) }),
		TLSConfig: id.ServerTLS(), ErrorLog: log.New(io.Discard, "", 0),
	}
	web.TellPathMTU(s)
	go func() { _ = s.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = s.Close() })
}

// actor is a running one.
type actor struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
	end func()
}

// actor starts one; under, if given, is the command that runs it.
func (l *lab) actor(host, role string, under ...string) *actor {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	args := append([]string{"user", host}, under...)
	cmd := l.command(append(args, l.install("actor", self), "-test.run=^TestActor$")...)
	cmd.Dir, cmd.Stderr = "", os.Stderr
	cmd.Env = append(os.Environ(), actorEnv+"="+role, "TMPDIR=/tmp", "HOME=/")
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	a := &actor{t: l.t, in: in, out: bufio.NewReader(out)}
	a.end = sync.OnceFunc(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("actor %s: %v", role, err)
		}
	})
	l.t.Cleanup(a.end)
	for line := ""; !strings.HasPrefix(line, "ready"); {
		if line, err = a.out.ReadString('\n'); err != nil {
			l.t.Fatalf("actor %s is not ready: %v", role, err)
		}
	}
	return a
}

// run has the actor run a probe.
func (a *actor) run(o order) (answer sdk.Answer) {
	a.t.Helper()
	err := json.NewEncoder(a.in).Encode(o)
	var line []byte
	if err == nil {
		line, err = a.out.ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err != nil {
		a.t.Fatalf("%+v: %v: %s", o, err, line)
	}
	return answer
}

func metric(a sdk.Answer, name string) float64 {
	for _, m := range a.Result.Metrics {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}
