//go:build unix && !linux

package plugins

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/seahow-uk/nodeprobe/sdk"
)

const firstInherited = 3

// inherit passes the life-line. The binary is executed by its path: between the
// check and the start somebody who may write there could swap it.
func inherit(cmd *exec.Cmd, lifeline, _ *os.File) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.ExtraFiles = []*os.File{lifeline}
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", sdk.EnvLifeline, firstInherited))
	return nil
}

// limitMemory is not possible from outside of the process here.
func limitMemory(int, int64) error { return nil }

// waitExit is not needed where exec.Cmd.Wait does all.
func waitExit(int) bool { return false }

func killGroup(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}

func selfPath() (string, error) { return os.Executable() }
