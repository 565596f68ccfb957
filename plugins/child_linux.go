package plugins

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// isolate makes the child the leader of a process group that dies with the host.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// firstInherited is the number that the first of cmd.ExtraFiles gets.
const firstInherited = 3

// inherit passes the life-line and, when it is not nil, the checked binary,
// which is then executed through its descriptor: nobody can swap it meanwhile.
func inherit(cmd *exec.Cmd, lifeline, binary *os.File) error {
	isolate(cmd)
	cmd.ExtraFiles = []*os.File{lifeline}
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", sdk.EnvLifeline, firstInherited))
	if binary != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, binary)
		cmd.Path = fmt.Sprintf("/proc/self/fd/%d", firstInherited+1)
	}
	return nil
}

// limitMemory sets RLIMIT_DATA. RLIMIT_AS does not suit Go, which maps more
// than a GiB at start.
func limitMemory(pid int, bytes int64) error {
	if bytes <= 0 {
		return nil
	}
	limit := &unix.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)}
	err := unix.Prlimit(pid, unix.RLIMIT_DATA, limit, nil)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// waitExit returns when the process has ended, and leaves it unreaped: its
// number, and that of its group, stay taken. False: it could not wait.
func waitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

func killGroup(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}

// selfPath is the running binary, even when its file was replaced since.
func selfPath() (string, error) { return "/proc/self/exe", nil }
