package path

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/seahow-uk/nodeprobe/scripts/ports"
	"github.com/seahow-uk/nodeprobe/sdk"
)

const refusedEnv = "PATH_TEST_REFUSED"

// A kernel without an error queue, as that of some sandboxes, refuses the options for
// one. No peer is blamed for it, and pmtu has TCP. A process of its own has such a
// kernel: what is refused to it stays so.
func TestRefusedSocketOptions(t *testing.T) {
	if os.Getenv(refusedEnv) == "" {
		cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestRefusedSocketOptions$")
		cmd.Env = append(os.Environ(), refusedEnv+"=1")
		out, err := cmd.CombinedOutput()
		switch {
		case err != nil:
			t.Errorf("%v:\n%s", err, out)
		case strings.Contains(string(out), "--- SKIP"):
			t.Skipf("%s", out)
		}
		return
	}
	refuseErrorQueue(t)
	target := sdk.Target{Host: "127.0.0.1", PeerPort: sink(t)}
	known := func(sdk.Target) (reflectorAt, bool) { return reflectorAt{port: 9, key: testKey}, true }

	p := newTestPMTU(t, nil)
	p.reflector = known
	got, err := p.Probe(context.Background(), target)
	if err != nil || got.Attributes["pmtu_forward_how"] != howTCPSegments {
		t.Errorf("pmtu: got %+v, %v, want what TCP says", got, err)
	}
	p = newTestPMTU(t, nil)
	p.reflector, p.c.TCP = known, false
	_, err = p.Probe(context.Background(), target)
	wantRefused(t, "pmtu without TCP", err)

	prober, err := newStamp(StampConfig{Count: 2, Spacing: paceTick}, sdk.Env{})
	if err != nil {
		t.Fatal(err)
	}
	s := prober.(*stamper)
	defer s.Close()
	s.reflector = known
	_, err = s.Probe(context.Background(), target)
	wantRefused(t, "stamp", err)

	prober, err = newTrace(TraceConfig{}, sdk.Env{Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = prober.Probe(context.Background(), target); err != nil {
		wantRefused(t, "trace", err)
	}
	_, err = new(reflectors).take(uint16(ports.Must(1)), testSecret, nil)
	wantRefused(t, "reflector", err)
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	if outcome, _ := sdk.Judge(err); outcome != sdk.OutcomeUnsupported || !strings.Contains(err.Error(), "IP_RECVERR") {
		t.Errorf("%s: got %v as %v, want unsupported and the option", what, err, outcome)
	}
}

// refuseErrorQueue has the kernel refuse IP_RECVERR and IPV6_RECVERR to all threads.
func refuseErrorQueue(t *testing.T) {
	t.Helper()
	// In struct seccomp_data; of arguments the lower half, on machines that have it first.
	const call, level, name = 0, 24, 32
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	// is skips so many instructions if the value is that one, and if it is not.
	is := func(value uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jt: yes, Jf: no}
	}
	end := func(how uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: how} }
	program := []unix.SockFilter{
		load(call),
		is(unix.SYS_SETSOCKOPT, 0, 8),
		load(level),
		is(unix.IPPROTO_IP, 0, 2),
		load(name),
		is(unix.IP_RECVERR, 3, 4),
		is(unix.IPPROTO_IPV6, 0, 3),
		load(name),
		is(unix.IPV6_RECVERR, 0, 1),
		end(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOPROTOOPT)),
		end(unix.SECCOMP_RET_ALLOW),
	}
	runtime.LockOSThread() // both calls are for the same thread; the second then is for all
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Skip(err)
	}
	with := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&with)))
	if errno != 0 {
		t.Skipf("seccomp: %v", errno)
	}
}
