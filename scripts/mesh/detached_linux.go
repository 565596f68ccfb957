package main

import "syscall"

// detached keeps Ctrl-C in the terminal from reaching the nodes on its own, so
// that they are stopped once and in order; and should this process be killed,
// the kernel asks them to stop.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
