//go:build unix && !linux

package main

import "syscall"

// detached keeps Ctrl-C in the terminal from reaching the nodes on its own, so
// that they are stopped once and in order.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
