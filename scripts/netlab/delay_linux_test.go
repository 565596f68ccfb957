package netlab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A delay line is this test binary, as root: it joins the two TUN devices that link L3
// is made of with link=tun, and holds each packet for a fixed time. It goes before all
// else on the machine, and tells for how long it has held which packet in truth.
const delayEnv = "NETLAB_DELAY"

// held is how long packets were held, there and back; the first that were not told yet.
type held struct{ Forward, Back []time.Duration }

// roundTrip is what the delay line has added to a round trip, at the median.
func (h held) roundTrip() time.Duration {
	return median(h.Forward) + median(h.Back)
}

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// delayLine is a running one.
type delayLine struct {
	l   *lab
	in  *json.Encoder
	out *json.Decoder
	end func()
}

// delay makes each packet on L3 late by that, each way, until the test ends. The link
// has to be a pair of TUN devices already.
func (l *lab) delay(each time.Duration) *delayLine {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestDelayLine$")
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), delayEnv+"="+l.prefix+" "+each.String())
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
	end := sync.OnceFunc(func() { _ = in.Close(); _ = cmd.Wait() })
	l.t.Cleanup(end)
	d := &delayLine{l, json.NewEncoder(in), json.NewDecoder(out), end}
	d.told() // it has begun
	return d
}

// told is for how long packets were held since it was asked last.
func (d *delayLine) told() (h held) {
	d.l.t.Helper()
	err := d.in.Encode("tell")
	if err == nil {
		err = d.out.Decode(&h)
	}
	if err != nil {
		d.l.t.Fatalf("the delay line says nothing: %v", err)
	}
	return h
}

// TestDelayLine is no test: it is what a delay line runs.
func TestDelayLine(t *testing.T) {
	prefix, each, ok := strings.Cut(os.Getenv(delayEnv), " ")
	if !ok {
		t.Skip("only for delay lines")
	}
	d, err := time.ParseDuration(each)
	if err != nil {
		t.Fatal(err)
	}
	line := &line{each: d}
	for i, host := range []string{"r2", "r3"} {
		if line.fds[i], err = openTUN(prefix+"-"+host, "L3"); err != nil {
			t.Fatal(err)
		}
	}
	go line.run()
	out := json.NewEncoder(os.Stdout)
	for in, asked := json.NewDecoder(os.Stdin), ""; in.Decode(&asked) == nil; {
		if err := out.Encode(line.tell()); err != nil {
			t.Fatal(err)
		}
	}
}

// openTUN joins a TUN device of a namespace.
func openTUN(namespace, name string) (fd int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		ns, e := os.Open("/run/netns/" + namespace)
		if e != nil {
			err = e
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			err = fmt.Errorf("open /dev/net/tun: %w", err)
			return
		}
		ifr, e := unix.NewIfreq(name)
		if err = e; err == nil {
			ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
		}
	}()
	<-done
	return fd, err
}

// line passes packets between two devices.
type line struct {
	each time.Duration
	fds  [2]int
	ways [2][]late // that come from the device of that number, oldest first

	mu   sync.Mutex // guards below
	held held
}

type late struct {
	packet []byte
	came   time.Time
}

// A queue is not longer than that of a router.
const longestQueue = 1000

// run never ends. Its thread goes before all others, or it would be late itself when
// the machine is busy.
func (l *line) run() {
	runtime.LockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}, 0); err != nil {
		fmt.Fprintf(os.Stderr, "the delay line has no priority: %v\n", err)
	}
	buf := make([]byte, 65536)
	for {
		l.wait()
		for i := range l.ways {
			for len(l.ways[i]) < longestQueue {
				n, err := unix.Read(l.fds[i], buf)
				if err != nil || n == 0 {
					break
				}
				l.ways[i] = append(l.ways[i], late{slices.Clone(buf[:n]), time.Now()})
			}
			l.pass(i)
		}
	}
}

// wait returns when a packet comes or one has waited for long enough.
func (l *line) wait() {
	var until *unix.Timespec
	for _, way := range l.ways {
		if len(way) > 0 {
			left := unix.NsecToTimespec(int64(max(time.Until(way[0].came.Add(l.each)), 0)))
			if until == nil || left.Nano() < until.Nano() {
				until = &left
			}
		}
	}
	_, _ = unix.Ppoll([]unix.PollFd{{Fd: int32(l.fds[0]), Events: unix.POLLIN}, {Fd: int32(l.fds[1]), Events: unix.POLLIN}}, until, nil)
}

// pass sends on what came from one device and has waited for long enough.
func (l *line) pass(from int) {
	for len(l.ways[from]) > 0 && time.Since(l.ways[from][0].came) >= l.each {
		p := l.ways[from][0]
		l.ways[from] = l.ways[from][1:]
		_, _ = unix.Write(l.fds[1-from], p.packet)
		l.mu.Lock()
		if took := time.Since(p.came); from == 0 {
			l.held.Forward = append(l.held.Forward, took)
		} else {
			l.held.Back = append(l.held.Back, took)
		}
		l.mu.Unlock()
	}
}

func (l *line) tell() held {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.held
	l.held = held{}
	return h
}
