package netlab

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/scripts/require"
)

// runs is how often each row is measured; "make e2e-path" sets it.
func runs(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("NETLAB_RUNS"))
	if err != nil || n < 1 {
		t.Skip(`"make e2e-path" runs this: it takes minutes`)
	}
	return n
}

// lab is a network of its own.
type lab struct {
	t      *testing.T
	prefix string
	dir    string // everybody may read it
}

// newLab makes a network until the test ends. It skips where that is not possible.
func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		require.Missing(t, "root", "namespaces need root")
	}
	for _, tool := range []string{"ip", "nft", "setpriv", "sysctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			require.Missing(t, "root", "%v", err)
		}
	}
	dir, err := os.MkdirTemp("", "netlab")
	if err != nil {
		t.Fatal(err)
	}
	// Of this process and test alone: some run at the same time.
	l := &lab{t, fmt.Sprintf("t%08x", crc32.ChecksumIEEE(fmt.Append(nil, os.Getpid(), t.Name()))), dir}
	t.Cleanup(func() {
		l.run("down")
		_ = os.RemoveAll(dir)
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := l.command("up").CombinedOutput(); err != nil {
		require.Missing(t, "root", "no network: %v: %s", err, out)
	}
	return l
}

func (l *lab) command(args ...string) *exec.Cmd {
	script, err := filepath.Abs("netlab.sh")
	if err != nil {
		l.t.Fatal(err)
	}
	return exec.Command(script, append([]string{"-p", l.prefix}, args...)...)
}

func (l *lab) run(args ...string) string {
	l.t.Helper()
	out, err := l.command(args...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("netlab %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// defaults are the keys of a network in which nothing is wrong.
var defaults = strings.Fields("mtu=1500/1500/1500/1500 rmtu= icmp=ok l2hole=0 udp=ok mss=0 loss=0 ecmp=0 ratelimit=1 announced=0 link=veth")

// set makes the network what keys say, and nothing else.
func (l *lab) set(keys string) {
	l.t.Helper()
	l.run(append(append([]string{"set"}, defaults...), strings.Fields(keys)...)...)
	l.run("flush")
}

// status is what the lab says of itself.
func (l *lab) status() map[string]string {
	l.t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(l.run("status")) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		out[k] = v
	}
	return out
}

func (l *lab) number(key string) int {
	l.t.Helper()
	n, err := strconv.Atoi(l.status()[key])
	if err != nil {
		l.t.Fatalf("status %s: %v", key, err)
	}
	return n
}

// install copies a program to where everybody may run it, once.
func (l *lab) install(name, from string) string {
	l.t.Helper()
	to := filepath.Join(l.dir, name)
	if _, err := os.Stat(to); err == nil {
		return to
	}
	in, err := os.Open(from)
	if err != nil {
		l.t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return to
}
