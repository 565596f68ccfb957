package path

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// BenchmarkStamp1000 is a minute's work of the probe "stamp" in a mesh of 1,000
// nodes, in less time: trains of 20 packets over loopback to 1,000 reflectors that
// do as little as they can. The figure to look at is the part of a core that the
// sender takes, cores_ratio, when the trains are spread over a minute: without what
// the reflectors took.
func BenchmarkStamp1000(b *testing.B) {
	const peers, atOnce = 1000, 16 // 1,000 trains of 0.9 s in a minute
	for b.Loop() {
		n := newBenchReflectors(b, peers)
		s := newTestStamp(b, nil)
		s.reflector = func(t sdk.Target) (reflectorAt, bool) { return reflectorAt{t.Port, testKey}, true }
		before := cpuTime(unix.RUSAGE_SELF)
		began := time.Now()
		var wg sync.WaitGroup
		work := make(chan uint16)
		for range atOnce {
			wg.Go(func() {
				for port := range work {
					r, err := s.Probe(b.Context(), sdk.Target{Host: "127.0.0.1", Port: port})
					if err != nil {
						b.Error(err)
					} else if r.Attributes["loss"] != "0/20" {
						b.Logf("port %d: %v", port, r.Attributes)
					}
				}
			})
		}
		for _, port := range n.ports {
			work <- port
		}
		close(work)
		wg.Wait()
		took := time.Since(began)
		spent := cpuTime(unix.RUSAGE_SELF) - before - n.stop()
		if err := s.Close(); err != nil {
			b.Error(err)
		}
		b.ReportMetric(spent.Seconds()/60, "cores_ratio")
		b.ReportMetric(float64(spent.Microseconds())/(peers*20), "cpu-us/packet")
		b.ReportMetric(took.Seconds(), "s/1000trains")
	}
}

// benchReflectors are sockets that one thread serves, so that its time can be told.
type benchReflectors struct {
	ports []uint16
	fds   []int
	poll  int
	ended chan time.Duration
}

func newBenchReflectors(b *testing.B, peers int) *benchReflectors {
	b.Helper()
	n := &benchReflectors{ended: make(chan time.Duration)}
	var err error
	if n.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		b.Fatal(err)
	}
	for range peers {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			b.Fatal(err)
		}
		own, err := unix.Getsockname(fd)
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.EpollCtl(n.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			b.Fatal(err)
		}
		n.fds = append(n.fds, fd)
		n.ports = append(n.ports, addrPort(own).Port())
	}
	go n.serve()
	return n
}

func (n *benchReflectors) serve() {
	runtime.LockOSThread()
	before := cpuTime(unix.RUSAGE_THREAD)
	buf, events, counts := make([]byte, 2048), make([]unix.EpollEvent, 64), map[[2]uint16]uint32{}
	for {
		ready, err := unix.EpollWait(n.poll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			break
		}
		for _, e := range events[:ready] {
			size, from, err := unix.Recvfrom(int(e.Fd), buf, 0)
			if err != nil {
				continue
			}
			if size == 1 {
				n.ended <- cpuTime(unix.RUSAGE_THREAD) - before
				return
			}
			now := time.Now()
			r := reply{received: now, sent: now, size: size, ssid: binary.BigEndian.Uint16(buf[14:]), askedSeq: binary.BigEndian.Uint32(buf)}
			key := [2]uint16{uint16(e.Fd), r.ssid}
			r.seq = counts[key]
			counts[key]++
			_ = unix.Sendto(int(e.Fd), r.appendTo(buf[:0], testKey), 0, from)
		}
	}
}

// stop ends the thread and tells how long it computed.
func (n *benchReflectors) stop() time.Duration {
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), n.ports[0])
	_ = unix.Sendto(n.fds[1], []byte{0}, 0, sockaddr(to))
	took := <-n.ended
	for _, fd := range n.fds {
		_ = unix.Close(fd)
	}
	_ = unix.Close(n.poll)
	return took
}

func cpuTime(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
