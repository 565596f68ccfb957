package plugins

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// inherit passes the life-line as an inheritable handle.
func inherit(cmd *exec.Cmd, lifeline, _ *os.File) error {
	h := syscall.Handle(lifeline.Fd())
	if err := syscall.SetHandleInformation(h, syscall.HANDLE_FLAG_INHERIT, syscall.HANDLE_FLAG_INHERIT); err != nil {
		return fmt.Errorf("life-line: %w", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{AdditionalInheritedHandles: []syscall.Handle{h}}
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", sdk.EnvLifeline, uintptr(h)))
	return nil
}

func limitMemory(int, int64) error { return nil }

func waitExit(int) bool { return false }

func killGroup(p *os.Process) { _ = p.Kill() }

func selfPath() (string, error) { return os.Executable() }
