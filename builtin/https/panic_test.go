package https

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// A panic over a connection whose time is over costs nothing, and it is closed.
func TestPanicOverTheEndOfAConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	p := newProber(t, defaults(), sdk.Env{Log: hclog.New(&hclog.LoggerOptions{Output: &said})})
	p.missing = func(*net.TCPConn) bool { panic("boom") }
	p.newRun(sdk.Target{}).cut(c.(*net.TCPConn))
	if err := c.Close(); err == nil {
		t.Error("got the connection open")
	}
	if !strings.Contains(said.String(), "panic=boom") {
		t.Errorf("logged %q", said.String())
	}
}
