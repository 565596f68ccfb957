package https

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func TestRTTComesFromTheKernel(t *testing.T) {
	n := serve(t, ok)
	p := newProber(t, defaults(), sdk.Env{})
	for range 2 {
		r := poll(t, p, n.target)
		if got := r.Attributes["rtt_source"]; got != "tcp_info" {
			t.Errorf("rtt_source: got %q, want tcp_info", got)
		}
		if got, there := metric(r, "retransmits_count"); !there || got != 0 {
			t.Errorf("retransmits on loopback: got %v, %v, want 0", got, there)
		}
	}
}

// A listener whose queue is full drops the first packet of every connection.
func TestHangingConnect(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	filler, err := net.DialTCP("tcp", nil, &at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = filler.Close() }()
	p := newProber(t, defaults(), sdk.Env{})
	r, err := p.Probe(within(t, 200*time.Millisecond), sdk.Target{Host: "127.0.0.1", Port: uint16(at.Port)})
	if sdk.ReasonOf(err) != sdk.ReasonTimeout || !strings.Contains(err.Error(), "in stage connect") {
		t.Errorf("got %v, want a timeout in stage connect", err)
	}
	wantStages(t, r, stageTotal)
}
